"""The SNU FastMRI Challenge's layout, written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dealias.io.volume import Volume
from dealias.io.write import write_hdf5


def write_snu(root: Path, split: str, volume: Volume) -> tuple[Path, Path]:
    """Write kspace/NAME.h5 and image/NAME.h5.

    Args:
        root: The data set.
        split: "train", "val", "leaderboard/acc4", ...
        volume: What to write.

    Returns:
        Paths of the k-space file (`kspace`, `mask`) and the image file (`image_input`,
        `image_grappa` where there is one, `image_label`; attributes max, norm, anatomy,
        acceleration).
    """
    kspace_path = root / split / "kspace" / f"{volume.name}.h5"
    image_path = root / split / "image" / f"{volume.name}.h5"
    common = {"anatomy": volume.anatomy, "acceleration": volume.acceleration, **volume.attributes}
    mask = volume.mask.lines.astype(np.float32)
    write_hdf5(kspace_path, {"kspace": volume.kspace_ZCHW, "mask": mask}, common)
    images = {
        "image_input": volume.input_ZHW,
        "image_grappa": volume.grappa_ZHW,
        "image_label": volume.target_ZHW,
    }
    if volume.target_ZHW is not None:
        common["max"] = float(volume.target_ZHW.max())
        common["norm"] = float(np.linalg.norm(volume.target_ZHW))
    stored = {name: image for name, image in images.items() if image is not None}
    write_hdf5(image_path, stored, common)
    return kspace_path, image_path
