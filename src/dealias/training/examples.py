"""The worst slices of a validation as pictures, for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dealias.atomic import replacing, write_json
from dealias.training.task import Validation


def write_examples(folder: Path, validation: Validation) -> None:
    """Write examples.npz and examples.json for the report; none where there is nothing to see."""
    if not validation.worst:
        return
    facts = [one[0] for one in validation.worst]
    kinds = ("zero_filled", "reconstruction", "reference")
    shapes = {one[3].shape for one in validation.worst}
    if len(shapes) > 1:
        # volumes of several target sizes: pad to the largest, as pictures only
        largest = tuple(np.max(list(shapes), axis=0))
        images = [[_padded(one[i + 1], largest) for one in validation.worst] for i in range(3)]
    else:
        images = [[one[i + 1] for one in validation.worst] for i in range(3)]
    pairs = zip(kinds, images, strict=True)
    arrays: dict[str, Any] = {f"{kind}_NHW": np.stack(part) for kind, part in pairs}
    with replacing(folder / "examples.npz") as partial, partial.open("wb") as file:
        np.savez(file, **arrays)
    write_json(folder / "examples.json", facts)


def _padded(image: Any, shape: tuple[int, ...]) -> Any:
    extra = [(0, size - have) for size, have in zip(shape, image.shape, strict=True)]
    return np.pad(image, extra)
