"""ISMRMRD headers: the numbers come out, hostile XML and everything personal stays where it is."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dealias.errors import DataError
from dealias.io.header import Header, parse_header, read_header
from dealias.io.open import open_scan

SPACE = "http://www.ismrm.org/ISMRMRD"


def xml(matrix: str = "<x>320</x><y>320</y><z>1</z>", trajectory: str = "cartesian",
        space: str = SPACE, extra: str = "") -> bytes:  # fmt: skip
    return f"""<?xml version="1.0"?>
<ismrmrdHeader xmlns="{space}">{extra}
 <subjectInformation><patientName>CANARY^PATIENT</patientName></subjectInformation>
 <encoding>
  <encodedSpace><matrixSize><x>640</x><y>372</y><z>1</z></matrixSize></encodedSpace>
  <reconSpace><matrixSize>{matrix}</matrixSize></reconSpace>
  <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>366</maximum>
   <center>184</center></kspace_encoding_step_1></encodingLimits>
  <trajectory>{trajectory}</trajectory>
 </encoding></ismrmrdHeader>""".encode()


def test_the_numbers_come_out() -> None:
    # encoded 372, centre of the acquired 367 at 184: two columns of padding left, three right
    assert parse_header("here", xml()) == Header((320, 320), (2, 369), "cartesian")


def test_another_namespace_says_the_same() -> None:
    assert parse_header("here", xml(space="http://elsewhere")) == parse_header("here", xml())
    radial = parse_header("here", xml(space="http://elsewhere", trajectory="radial"))
    assert radial.trajectory == "radial"


LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "malformed XML"),
        (b"<ismrmrdHeader", "malformed XML"),
        (xml()[:-20], "malformed XML"),
        (LAUGHS.encode() + b"<l>&b;</l>", "a document type or entity"),
        (OUTSIDE.encode() + b"<l>&x;</l>", "a document type or entity"),
        (xml("<x>-5</x><y>320</y>"), "found '-5'"),
        (xml("<x>99999999999</x><y>320</y>"), "found '99999999999'"),
        (xml("<x>320.5</x><y>320</y>"), "found '320.5'"),
        (xml("<x></x><y>320</y>"), "found ''"),
        (xml("<x>0</x><y>320</y>"), "found '0'; expected a number from 1 to 8192"),
        (xml("<x>²</x><y>320</y>"), "found '²'"),
        (xml(f"<x>{'9' * 5000}</x><y>320</y>"), "found '99999999999999999999'"),
        (xml().replace(b'"1.0"', b'"1.0" encoding="bogus"'), "malformed XML .*bogus|unknown enc"),
        (xml().replace(b'"1.0"', b'"1.0" encoding="euc-kr"'), "malformed XML"),
        ((LAUGHS + "<l>&b;</l>").encode("utf-16"), "a document type or entity"),
        (b"<a>" * 200_000, "malformed XML"),
    ],
)
def test_hostile_xml_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        parse_header("file.h5: dataset 'ismrmrd_header'", text)
    assert "ismrmrd_header" in str(caught.value)
    assert "CANARY" not in str(caught.value)


def write(path: Path, header: bytes | None) -> Path:
    kspace = np.ones((2, 3, 24, 20), np.complex64)
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        if header is not None:
            file.create_dataset("ismrmrd_header", data=header, dtype=h5py.string_dtype())
        file.attrs["patient_id"] = "CANARY"
        file.attrs["acquisition"] = "CORPD_FBK"
    return path


def test_a_test_file_takes_its_grid_from_the_header(path: Path) -> None:
    scan = open_scan(write(path, xml("<x>18</x><y>16</y>")))
    assert scan.geometry.target_hw == (18, 16)
    assert scan.image("target", 0) is None


def test_a_radial_scan_is_refused_by_name(path: Path) -> None:
    with pytest.raises(DataError, match="a radial trajectory; expected cartesian"):
        open_scan(write(path, xml(trajectory="radial")))


def test_a_trajectory_is_repeated_cut_and_on_one_line(path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_scan(write(path, xml(trajectory="spi\nral" + "x" * 9999)))
    assert "a spi\\nralxxxxxxxxxxxxx trajectory" in str(caught.value)


@pytest.mark.parametrize("text", [xml().replace(b"<center>184", b"<center>190"),
                                  xml().replace(b"<maximum>366", b"<maximum>400")])  # fmt: skip
def test_a_padding_that_does_not_fit_is_unknown(text: bytes) -> None:
    assert parse_header("here", text).padding is None


def test_a_header_is_not_looked_for_in_other_files(tmp_path: Path, path: Path) -> None:
    """Nor does any part of what they hold reach the message."""
    secret = tmp_path / "secret"
    secret.write_bytes(xml(trajectory="CANARY"))
    other = tmp_path / "other.h5"
    write(other, xml(trajectory="CANARY"))
    size = secret.stat().st_size
    for case, said in (("soft", "a link"), ("external", "a link"), ("raw", "external storage")):
        with h5py.File(write(path, None), "a") as file:
            if case == "raw":
                file.create_dataset("ismrmrd_header", (1,), f"S{size}",
                                    external=[(str(secret), 0, size)])  # fmt: skip
            else:
                file["elsewhere"] = xml(trajectory="CANARY")
                file["ismrmrd_header"] = (
                    h5py.SoftLink("/elsewhere") if case == "soft"
                    else h5py.ExternalLink(str(other), "ismrmrd_header")
                )  # fmt: skip
        with pytest.raises(DataError, match=f"'ismrmrd_header': found {said}") as caught:
            open_scan(path)
        assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("value", [np.zeros((1 << 10, 1 << 18), np.uint8), np.float32(3)])
def test_a_header_that_is_no_text_is_refused_unread(path: Path, value: np.ndarray) -> None:
    with h5py.File(write(path, None), "a") as file:
        file.create_dataset("ismrmrd_header", value.shape, value.dtype)
    with pytest.raises(DataError, match=f"found dtype {value.dtype}; expected a text"):
        open_scan(path)


def test_a_header_over_a_mebibyte_is_refused(path: Path) -> None:
    with pytest.raises(DataError, match="over 1 MiB"):
        read_header(write(path, xml(extra=f"<!--{'x' * (10 << 20)}-->")))


def test_a_missing_header_is_said_so(path: Path) -> None:
    with pytest.raises(DataError, match="only kspace; expected 'ismrmrd_header'"):
        read_header(write(path, None))
