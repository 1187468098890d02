"""safetensors files that lie are refused, honest ones come back bit for bit."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.errors import CheckpointError
from dealias.io.weights import HEADER_LIMIT, read_safetensors, write_safetensors

ENTRY = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def craft(path: Path, layout: dict[str, Any] | str, payload: bytes = bytes(16)) -> Path:
    text = layout if isinstance(layout, str) else json.dumps(layout)
    path.write_bytes(struct.pack("<Q", len(text.encode())) + text.encode() + payload)
    return path


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def test_tensors_and_header_come_back_bit_equal(tmp_path: Path) -> None:
    tensors = {
        "w": torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).T,
        "count": torch.tensor(7),
        "half": torch.tensor([1.5, float("inf"), -0.0], dtype=torch.bfloat16),
        "complex": torch.tensor([1 + 2j]),
        "none": torch.zeros(0, 3),
    }
    path = tmp_path / "a.safetensors"
    write_safetensors(path, tensors, {"network": "varnet", "config": {"한글": [1, None]}})
    back, header = read_safetensors(path)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (back[name].shape, back[name].dtype) == (tensor.shape, tensor.dtype)
        assert torch.equal(_bits(back[name]), _bits(tensor))
    assert header["config"] == {"한글": [1, None]}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    a, b = torch.ones(2), torch.zeros(3)
    write_safetensors(tmp_path / "1", {"a": a, "b": b}, {"x": 1, "y": 2})
    write_safetensors(tmp_path / "2", {"b": b, "a": a}, {"y": 2, "x": 1})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_tensors_that_share_memory_can_be_written(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    write_safetensors(tmp_path / "a", {"all": shared, "part": shared[2:4]}, {})
    assert torch.equal(read_safetensors(tmp_path / "a")[0]["part"], torch.tensor([2.0, 3.0]))


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"w": torch.ones(4)}, {"network": "unet"})
    good = path.read_bytes()
    for position in range(len(good) - 16, len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(CheckpointError, match="changed after writing"):
            read_safetensors(path)


@pytest.mark.parametrize("keep", [0, 4, 8, 40, -1])
def test_truncated(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"w": torch.ones(4)}, {"network": "unet"})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        read_safetensors(path)


LIES = {
    "overlap": {"a": ENTRY, "b": {**ENTRY, "data_offsets": [8, 24]}},
    "hole": {"a": {**ENTRY, "data_offsets": [4, 20]}},
    "shape": {"a": {**ENTRY, "shape": [1000, 1000]}},
    "huge shape": {"a": {**ENTRY, "shape": [1 << 62, 4]}},
    "negative shape": {"a": {**ENTRY, "shape": [-2, -2]}},
    "negative offsets": {"a": {**ENTRY, "data_offsets": [-16, 0]}},
    "boolean shape": {"a": {**ENTRY, "shape": [True, 4]}},
    "text shape": {"a": {**ENTRY, "shape": "22"}},
    "float offsets": {"a": {**ENTRY, "data_offsets": [0.0, 16.0]}},
    "dtype": {"a": {**ENTRY, "dtype": "OBJECT"}},
    "no dtype": {"a": {"shape": [2, 2], "data_offsets": [0, 16]}},
    "list": {"a": [1, 2]},
    "beyond the end": {"a": {**ENTRY, "shape": [8], "data_offsets": [0, 32]}},
    "unused bytes": {"a": {**ENTRY, "shape": [2], "data_offsets": [0, 8]}},
    "metadata": {"__metadata__": {"dealias": 3}, "a": ENTRY},
    "metadata list": {"__metadata__": [1], "a": ENTRY},
    "metadata text": {"__metadata__": {"dealias": "{"}, "a": ENTRY},
    "nan": {"__metadata__": {"dealias": '{"x": NaN}'}, "a": ENTRY},
    "key twice inside": {"__metadata__": {"dealias": '{"x": 1, "x": 2}'}, "a": ENTRY},
    "nested": '{"a":' * 100_000,
    "key twice": f'{{"a": {json.dumps(ENTRY)}, "a": {json.dumps(ENTRY)}}}',
    "no object": "[1]",
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_in_the_header(tmp_path: Path, lie: str) -> None:
    path = craft(tmp_path / "a.safetensors", LIES[lie])  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        read_safetensors(path)


def test_the_crafted_file_without_a_lie_is_read(tmp_path: Path) -> None:
    tensors, header = read_safetensors(craft(tmp_path / "a", {"a": ENTRY}))
    assert tensors["a"].shape == (2, 2)
    assert header == {}


@pytest.mark.parametrize("length", [HEADER_LIMIT + 1, 1 << 30, (1 << 64) - 1])
def test_a_header_that_claims_to_be_huge(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", length))
        file.truncate(HEADER_LIMIT + 100)  # sparse
    with pytest.raises(CheckpointError, match="header of"):
        read_safetensors(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(CheckpointError):
            read_safetensors(path)


def test_hostile_names_are_printed_harmlessly(tmp_path: Path) -> None:
    layout = {"\x1b[31mred\n": {**ENTRY, "shape": [3]}}
    with pytest.raises(CheckpointError) as caught:
        read_safetensors(craft(tmp_path / "a", layout))
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
