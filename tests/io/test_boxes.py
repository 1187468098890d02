"""Lesion boxes: fixed and variable text, only when asked for; anything else is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from dealias.errors import DataError
from dealias.io.boxes import parse_boxes
from dealias.io.open import open_scan
from dealias.metrics.protocol import PROTOCOLS
from dealias.scan.scan import Box

BOXES = {
    "2": [{"x": 4, "y": 6, "width": 17, "height": 20, "label": "Meniscus Tear"}],
    "0": [{"x": 1.0, "y": 2, "width": 18, "height": 19, "label": "낭종"}],
}
EXPECTED = (Box(0, 1, 2, 18, 19, "낭종"), Box(2, 4, 6, 17, 20, "Meniscus Tear"))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    kspace, image = tmp_path / "kspace.h5", tmp_path / "image.h5"
    with h5py.File(kspace, "w") as file:
        file["kspace"] = rng.standard_normal((3, 2, 40, 40)).astype(np.complex64)
    with h5py.File(image, "w") as file:
        file["image_label"] = rng.random((3, 32, 32)).astype(np.float32)
        file.attrs["max"] = 1.0
    return kspace, image


@pytest.mark.parametrize("stored", ["fixed", "variable"])
def test_boxes_are_read_with_their_labels(pair: tuple[Path, Path], stored: str) -> None:
    text = json.dumps(BOXES, ensure_ascii=False)
    with h5py.File(pair[1], "a") as file:
        file.attrs["annotations"] = np.bytes_(text.encode()) if stored == "fixed" else text
    scan = pickle.loads(pickle.dumps(open_scan(*pair)))  # as a worker gets it
    assert scan.boxes == EXPECTED


def test_a_scan_without_annotations_has_none(pair: tuple[Path, Path]) -> None:
    assert open_scan(*pair).boxes == ()
    assert open_scan(pair[0]).boxes == ()


def test_they_are_what_the_protocol_scores(pair: tuple[Path, Path]) -> None:
    with h5py.File(pair[1], "a") as file:
        file.attrs["annotations"] = np.bytes_(json.dumps(BOXES).encode())
        file.attrs["acceleration"], file.attrs["anatomy"] = 4, np.bytes_(b"knee")
        target = file["image_label"][:]
    scan = open_scan(*pair)
    recon = target.copy()
    recon[2, 6:26, 4:21] += 0.3  # inside the box of slice 2 alone
    found = PROTOCOLS["snu2026-boxes"].score(recon, scan)
    assert [one.regions for one in found.slices] == [1, 0, 1]
    assert found.slices[0].ssim == pytest.approx(1)
    assert found.slices[2].ssim is not None
    assert found.slices[2].ssim < 0.95


@pytest.mark.parametrize(
    "text",
    [
        b"not json", b"[1, 2]", b'{"a": []}', b'{"0": 3}', b'{"0": [{"x": 1}]}', b"[" * 100_000,
        b'{"0": [{"x": NaN, "y": 1, "width": 2, "height": 3}]}',
        b'{"0": [{"x": "1", "y": 1, "width": 2, "height": 3}]}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_other_text_is_refused_in_one_line(text: bytes) -> None:
    with pytest.raises(DataError, match="other JSON") as caught:
        parse_boxes("file.h5: attribute 'annotations'", text, 3)
    assert "\n" not in str(caught.value)


def test_a_slice_that_does_not_exist_is_refused() -> None:
    with pytest.raises(DataError, match="slice 2; expected 0 to 1"):
        parse_boxes("here", json.dumps(BOXES).encode(), 2)
