"""Weights on disk: safetensors that carry no code, checked before anything is believed."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dealias.atomic import write_bytes
from dealias.errors import CheckpointError

Json = dict[str, Any]

HEADER_LIMIT = 16 << 20
FILE_LIMIT = 16 << 30
_KEY = "dealias"
_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "I32": 4, "I64": 8,
    "F16": 2, "BF16": 2, "F32": 4, "F64": 8, "C64": 8,
}  # fmt: skip


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], header: Json) -> None:
    """Write tensors and a JSON header, atomically; the same content gives the same bytes.

    Args:
        path: The file; replaced if it exists.
        tensors: Any device, any layout; names as in a state_dict.
        header: JSON values. A digest of the tensors is added, so that a flipped bit is found.

    Raises:
        DiskError: It cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    said = {**header, "digest": digest(plain)}
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, safetensors.torch.save(plain, metadata={_KEY: text}))


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], Json]:
    """Read tensors and the JSON header of `write_safetensors`.

    Args:
        path: The file.

    Returns:
        Tensors on the CPU, and the header; the header is empty if another tool wrote the file.

    Raises:
        CheckpointError: It is missing, damaged, or says anything that does not add up.
    """
    data = _read(path)
    header = _checked_layout(path, data)
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(path, f"damaged safetensors ({error})") from error
    promised = header.get("digest")
    if promised is not None and promised != digest(tensors):
        raise CheckpointError(
            path, "weights that were changed after writing", "matching digest", "copy it again"
        )
    return tensors, header


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def strict_json(path: Path, text: str | bytes, what: str) -> Json:
    """Parse a JSON object in which no key comes twice and no number is NaN.

    Raises:
        CheckpointError: It is not; the message names the file and the part.
    """

    def unique(pairs: list[tuple[str, Any]]) -> Json:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key comes twice")
        return found

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON number")

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(path, f"{what} is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(path, f"{what} is a {type(value).__name__}", "a JSON object")
    return value


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > FILE_LIMIT:
            raise CheckpointError(path, f"{size} bytes", f"at most {FILE_LIMIT}")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(path, error.strerror or str(error), "a readable file") from error


def _checked_layout(path: Path, data: bytes) -> Json:
    if len(data) < 8:
        raise CheckpointError(path, f"{len(data)} bytes", "a safetensors file")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(HEADER_LIMIT, len(data) - 8):
        raise CheckpointError(
            path, f"a header of {length} bytes in a file of {len(data)}", "a safetensors file"
        )
    layout = strict_json(path, data[8 : 8 + length], "the header")
    metadata = layout.pop("__metadata__", {})
    _check_offsets(path, layout, len(data) - 8 - length)
    text = metadata.get(_KEY, "{}") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(path, "metadata of another kind", "text values")
    return strict_json(path, text, f"metadata '{_KEY}'")


def _check_offsets(path: Path, layout: Json, payload: int) -> None:
    end = 0
    spans = [(*_span(path, name, entry), name) for name, entry in layout.items()]
    for start, stop, name in sorted(spans):
        if start != end:
            raise CheckpointError(path, f"tensor '{name}' at byte {start}", f"byte {end}")
        end = stop
    if end != payload:
        raise CheckpointError(path, f"{payload} bytes of tensors", f"{end} as the header says")


def _span(path: Path, name: str, entry: Any) -> tuple[int, int]:
    try:
        shape, (start, stop) = entry["shape"], entry["data_offsets"]
        size = math.prod(shape) * _BYTES[entry["dtype"]]
        numbers = [*shape, start, stop]
    except (TypeError, KeyError, ValueError) as error:
        raise CheckpointError(path, f"tensor '{name}' is not described properly") from error
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise CheckpointError(path, f"tensor '{name}' has shape or offsets that are no counts")
    if stop - start != size:
        raise CheckpointError(
            path, f"tensor '{name}' of shape {shape} in {stop - start} bytes", f"{size} bytes"
        )
    return start, stop
