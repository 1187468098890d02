"""The ISMRMRD header of a fastMRI file: numbers alone, read in a child process.

Text of variable length in a damaged file can crash the HDF5 library; so a child reads it, once,
with a time limit. Numbers alone leave it: names, dates and identifiers stay behind.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from dealias.errors import DataError

MAX_BYTES = 1 << 20
TIMEOUT_SECONDS = 20
_READ = (
    "import sys, h5py\n"
    "with h5py.File(sys.argv[1], 'r') as file:\n"
    "    text = file['ismrmrd_header'][()]\n"
    "sys.stdout.buffer.write(bytes(text)[: int(sys.argv[2]) + 1])\n"
)
_SPACE = "{http://www.ismrm.org/ISMRMRD}"
MAX_MATRIX = 8192


@dataclass(frozen=True)
class Header:
    """Numbers of an ISMRMRD header.

    Attributes:
        recon_hw: (H, W) of the reconstructed image, or None.
        padding: [left, right) acquired phase-encode columns, or None.
        trajectory: Such as "cartesian".
    """

    recon_hw: tuple[int, int] | None
    padding: tuple[int, int] | None
    trajectory: str


def read_header(path: Path) -> Header:
    """Read the header of a fastMRI file.

    Raises:
        DataError: It is missing, malformed, too large, crashes the library, or hangs.
    """
    where = f"{path}: dataset 'ismrmrd_header'"
    command = [sys.executable, "-c", _READ, str(path), str(MAX_BYTES)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise DataError(where, "no answer from the HDF5 library", "a header", "") from None
    if done.returncode != 0:
        raise DataError(where, "nothing readable", "an XML text", "copy the file again")
    return parse_header(where, done.stdout)


def parse_header(where: str, text: bytes) -> Header:
    """Parse the XML; entities and document types are refused."""
    if len(text) > MAX_BYTES:
        raise DataError(where, "over 1 MiB", "an ISMRMRD header", "")
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise DataError(where, "a document type or entity", "plain XML", "")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(where, f"malformed XML ({error})", "an ISMRMRD header", "") from None
    width = _number(where, root, "encodedSpace/matrixSize/y")
    recon = [_number(where, root, f"reconSpace/matrixSize/{axis}") for axis in "xy"]
    centre = _number(where, root, "encodingLimits/kspace_encoding_step_1/center")
    last = _number(where, root, "encodingLimits/kspace_encoding_step_1/maximum")
    padding = None
    if width is not None and centre is not None and last is not None:
        left = width // 2 - centre
        padding = (left, left + last + 1)
    element = root.find(f"{_SPACE}encoding/{_SPACE}trajectory")
    trajectory = (element.text or "") if element is not None else "cartesian"
    height, columns = recon
    both = (height, columns) if height is not None and columns is not None else None
    return Header(both, padding, trajectory)


def _number(where: str, root: ElementTree.Element, path: str) -> int | None:
    element = root.find("/".join(_SPACE + part for part in ("encoding", *path.split("/"))))
    if element is None:
        return None
    text = (element.text or "").strip()
    if not text.isdigit() or int(text) > MAX_MATRIX:
        raise DataError(f"{where}: {path}", repr(text[:20]), f"a number up to {MAX_MATRIX}", "")
    return int(text)
