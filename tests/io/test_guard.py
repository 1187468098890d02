"""Hostile and damaged HDF5: refused by one line that names file and item, and nothing is read."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from dealias.errors import DataError
from dealias.io.guard import open_guarded
from dealias.io.open import open_scan

Write = Callable[..., Path]
Refused = Callable[..., str]
SHAPE = (2, 3, 24, 20)
KSPACE = np.ones(SHAPE, np.complex64)


def test_what_is_no_hdf5_is_said_so(tmp_path: Path, path: Path, refused: Refused) -> None:
    refused(path, "no such file")
    refused(tmp_path, "a folder")
    path.touch()
    refused(path, "an empty file")
    path.write_bytes(os.urandom(5000))
    refused(path, "no readable HDF5 in 5000 bytes", "copy the file again")


def test_what_is_no_file_is_not_waited_for(path: Path, refused: Refused) -> None:
    os.mkfifo(path)
    refused(path, "a pipe or device", "store it as a file")


def test_paths_that_lead_nowhere(
    tmp_path: Path, path: Path, write: Write, refused: Refused
) -> None:
    path.symlink_to(path)
    refused(path, "symbolic links", "check the path")
    refused(tmp_path / ("k" * 300), "File name too long")
    refused(write(tmp_path / "a.h5", x=1) / "b.h5", "no such file")


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Root may read everything, so it lays its rights down for the while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_files_that_may_not_be_read(write: Write, refused: Refused) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is its owner's alone
        folder = Path(name)
        path = write(folder / "scan.h5", kspace=KSPACE)
        folder.chmod(0o755)
        path.chmod(0)
        with nobody():
            refused(path, "no permission to read", "chmod")
        folder.chmod(0)
        with nobody():
            refused(path, "no permission to read")
        folder.chmod(0o700)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999, None])
def test_a_truncated_file_is_refused(
    path: Path, share: float | None, write: Write, refused: Refused
) -> None:
    data = write(path, kspace=KSPACE).read_bytes()
    path.write_bytes(data[:-1] if share is None else data[: int(share * len(data))])
    refused(path, "copy the file again")


def test_a_flipped_bit_is_found_where_the_writer_stored_checksums(
    path: Path, refused: Refused
) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=KSPACE, chunks=(1, *SHAPE[1:]), fletcher32=True)
        start = file["kspace"].id.get_chunk_info(1).byte_offset
    data = bytearray(path.read_bytes())
    data[start + 100] ^= 1
    path.write_bytes(data)
    refused(path, "dataset 'kspace'", "damaged data")


def test_a_missing_key_proposes_the_nearest(path: Path, write: Write, refused: Refused) -> None:
    refused(write(path, Kspace=KSPACE, mask=np.ones(20)), "dataset 'kspace'", "Kspace", "did you")


def test_a_key_in_another_case_is_proposed(path: Path, write: Write, refused: Refused) -> None:
    found = refused(write(path, KSPACE=KSPACE, spade=1), "found only KSPACE, spade")
    assert found.endswith("did you mean 'KSPACE'?")


def test_a_message_lists_a_few_names_alone(path: Path, write: Write, refused: Refused) -> None:
    text = refused(write(path, **{f"{index:03d}{'x' * 500}": 1 for index in range(99)}))
    assert "and 91 more" in text
    assert len(text) < len(str(path)) + 600


def test_a_group_is_no_dataset(path: Path, refused: Refused) -> None:
    with h5py.File(path, "w") as file:
        file.create_group("kspace")
    refused(path, "dataset 'kspace'", "a group")


BAD_TYPES = {
    "float32": (np.zeros(SHAPE, np.float32), "float32"),
    "int16": (np.zeros(SHAPE, np.int16), "int16"),
    "trailing real and imaginary axis": (np.zeros((*SHAPE, 2), np.float32), "real and imaginary"),
    "compound": (
        np.zeros(SHAPE, [("real", np.float32), ("imag", np.float32)]), "a compound of real, imag",
    ),
    "halves": (np.zeros(SHAPE, [("r", np.float16), ("i", np.float16)]), "a compound of r, i"),
    "long names": (np.zeros(2, [("n" * 500, np.float32), ("m", int)]), f"{'n' * 40}..., m"),
    "text": (np.full(SHAPE, b"abc"), "dtype |S3"),
    "opaque": (np.zeros(SHAPE, "V16"), "dtype |V16"),
    "nothing": (h5py.Empty(np.complex64), "no shape at all"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TYPES)
def test_other_types_are_refused(path: Path, case: str, write: Write, refused: Refused) -> None:
    values, said = BAD_TYPES[case]
    refused(write(path, kspace=values), "dataset 'kspace'", said)


VARIABLE = {
    "text": h5py.string_dtype(), "array": h5py.vlen_dtype(np.float32), "reference": h5py.ref_dtype,
}  # fmt: skip


@pytest.mark.parametrize("kind", VARIABLE)
def test_data_of_variable_length_is_refused_unread(path: Path, kind: str, refused: Refused) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", (2,), dtype=VARIABLE[kind])
    refused(path, "dataset 'kspace'", "found dtype object", "plain numbers")


def test_a_huge_declared_shape_is_refused_without_memory(path: Path, refused: Refused) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", (4000, 64, 4096, 4096), np.complex64, chunks=(1, 1, 64, 64))
    assert path.stat().st_size < 10_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, "GiB", "split the volume")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_compression_bomb_is_refused_without_memory(path: Path, refused: Refused) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", (40, 4, 1024, 512), np.complex64, chunks=(1, 4, 1024, 512),
                            compression="gzip")  # fmt: skip
        file["kspace"][0] = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, "MiB declared", "KiB stored")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_bomb_in_one_chunk_is_refused_without_memory(path: Path, refused: Refused) -> None:
    """A chunk is unpacked whole, however little of it the dataset claims to use."""
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", (1, 1, 24, 20), np.complex64, chunks=(1, 1, 8192, 4096),
                            maxshape=(None,) * 4, compression="gzip")  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, "256 MiB declared and 0 KiB stored")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_external_storage_is_refused_and_its_content_unseen(
    tmp_path: Path, path: Path, refused: Refused
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"CANARY" * 5000)
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", SHAPE, np.complex64, external=[(str(secret), 0, 30000)])
    assert "CANARY" not in refused(path, "external storage")


LINKS: dict[str, Callable[[h5py.File, Path], None]] = {
    "soft": lambda file, other: file.__setitem__("kspace", h5py.SoftLink("/elsewhere")),
    "external": lambda file, other: file.__setitem__(
        "kspace", h5py.ExternalLink(str(other), "kspace")
    ),
    "loop": lambda file, other: file.__setitem__("kspace", h5py.SoftLink("/kspace")),
}


@pytest.mark.parametrize("case", LINKS)
def test_links_are_refused(
    tmp_path: Path, path: Path, case: str, write: Write, refused: Refused
) -> None:
    other = write(tmp_path / "other.h5", kspace=KSPACE, elsewhere=KSPACE)
    with h5py.File(path, "w") as file:
        file["elsewhere"] = KSPACE
        LINKS[case](file, other)
    refused(path, "a link", "store a copy")


@pytest.mark.parametrize("kind", ["external", "soft"])
def test_a_link_in_the_middle_of_a_path_is_not_followed(
    tmp_path: Path, path: Path, kind: str, write: Write
) -> None:
    """The last part is a hard link there, whatever led to it."""
    other = write(tmp_path / "other.h5", kspace=KSPACE)
    with h5py.File(path, "w") as file:
        file["here/kspace"] = KSPACE
        file["away"] = (
            h5py.SoftLink("/here") if kind == "soft" else h5py.ExternalLink(str(other), "/")
        )
    with open_guarded(path) as file:
        assert file.dataset("here/kspace").shape == SHAPE
        with pytest.raises(DataError, match="dataset 'away/kspace': found a link"):
            file.dataset("away/kspace")
        with pytest.raises(DataError, match="dataset 'away/none': found a link"):
            file.dataset("away/none")


@pytest.mark.parametrize("source", ["present", "missing"])
def test_virtual_datasets_are_refused(
    tmp_path: Path, path: Path, source: str, write: Write, refused: Refused
) -> None:
    other = tmp_path / "other.h5"
    if source == "present":
        write(other, kspace=KSPACE)
    layout = h5py.VirtualLayout(SHAPE, np.complex64)
    layout[:] = h5py.VirtualSource(str(other), "kspace", SHAPE)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("kspace", layout)
    refused(path, "a virtual dataset")


def test_an_unknown_filter_is_refused_before_a_plugin_is_looked_for(
    path: Path, refused: Refused
) -> None:
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, *SHAPE[1:]))
        properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(SHAPE)
        kind = h5py.h5t.py_create(np.dtype(np.complex64), logical=True)
        h5py.h5d.create(file.id, b"kspace", kind, space, properties)
    refused(path, "filter 32015", "gzip")


def test_twenty_thousand_keys_and_deep_nesting_are_no_trouble(path: Path, refused: Refused) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        for index in range(20_000):
            file.create_group(f"g{index}", track_order=False)
        group = file
        for _ in range(300):
            group = group.create_group("g")
    refused(path, "over 1,000 items")
    with h5py.File(path, "a") as file:
        file["kspace"] = KSPACE
    assert open_scan(path).shape == SHAPE


@pytest.mark.subprocess
def test_a_file_being_written_is_said_so(path: Path, write: Write, refused: Refused) -> None:
    code = (
        "import sys, h5py; file = h5py.File(sys.argv[1], 'r+'); print('open', flush=True)\n"
        "sys.stdin.read()"
    )
    write(path, kspace=KSPACE)
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        refused(path, "being written", "wait until its writer has closed it")
        writer.communicate()


def test_hostile_names_do_not_reach_the_terminal_raw(
    path: Path, write: Write, refused: Refused
) -> None:
    write(path, **{"\x1b[2Jkspac": KSPACE})
    text = refused(path)
    assert "\x1b" not in text
    assert "\\x1b" in text
