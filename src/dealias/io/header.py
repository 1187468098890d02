"""The ISMRMRD header of a fastMRI file: numbers alone.

Names, dates and identifiers stay behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from dealias.errors import DataError
from dealias.io.guard import open_guarded
from dealias.io.text import read_text

MAX_BYTES = 1 << 20
_SPACE = "{*}"  # whatever namespace its writer chose
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
    with open_guarded(path) as file:
        file.check_text("ismrmrd_header")
    text = read_text(path, "dataset", "ismrmrd_header", MAX_BYTES)
    return parse_header(f"{path}: dataset 'ismrmrd_header'", text)


def parse_header(where: str, text: bytes) -> Header:
    """Parse the XML; entities and document types are refused.

    Raises:
        DataError: It is no such header, or a number is none.
    """
    try:
        _refuse_document_types(where, text)
        root = ElementTree.fromstring(text)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(where, f"malformed XML ({error})", "an ISMRMRD header", "") from None
    width = _number(where, root, "encodedSpace/matrixSize/y")
    recon = [_number(where, root, f"reconSpace/matrixSize/{axis}") for axis in "xy"]
    limits = "encodingLimits/kspace_encoding_step_1"
    centre = _number(where, root, f"{limits}/center", least=0)
    last = _number(where, root, f"{limits}/maximum", least=0)
    padding = None
    if width is not None and centre is not None and last is not None:
        left = width // 2 - centre
        if 0 <= left <= left + last < width:
            padding = (left, left + last + 1)
    element = root.find(f"{_SPACE}encoding/{_SPACE}trajectory")
    # cut, as a message repeats it
    trajectory = (element.text or "")[:20] if element is not None else "cartesian"
    height, columns = recon
    both = (height, columns) if height is not None and columns is not None else None
    return Header(both, padding, trajectory)


def _refuse_document_types(where: str, text: bytes) -> None:
    """By the parser, not by searching the bytes: they may be UTF-16."""

    def refuse(*parts: object) -> None:
        raise DataError(where, "a document type or entity", "plain XML", "")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(text, True)


def _number(where: str, root: ElementTree.Element, path: str, least: int = 1) -> int | None:
    element = root.find("/".join(_SPACE + part for part in ("encoding", *path.split("/"))))
    if element is None:
        return None
    text = (element.text or "").strip()
    # digits of other scripts and thousands of digits are numbers to Python, and not here
    if re.fullmatch(r"[0-9]{1,9}", text) and least <= int(text) <= MAX_MATRIX:
        return int(text)
    expected = f"a number from {least} to {MAX_MATRIX}"
    raise DataError(f"{where}: {path}", repr(text[:20]), expected, "")
