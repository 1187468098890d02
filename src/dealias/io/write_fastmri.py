"""FastMRI's layout, written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.io.volume import Volume
from dealias.io.write import write_hdf5

_HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><trajectory>cartesian</trajectory>
<encodedSpace><matrixSize><x>{h}</x><y>{w}</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>{th}</x><y>{tw}</y><z>1</z></matrixSize></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum>
<center>{centre}</center></kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>
"""
ACQUISITION = {"brain": "AXT2", "knee": "CORPD_FBK"}


def write_fastmri(root: Path, split: str, volume: Volume) -> Path:
    """Write multicoil_SPLIT/NAME.h5.

    Args:
        root: The data set.
        split: "train", "val" or "test"; test files carry their mask and masked k-space.
        volume: What to write.

    Returns:
        Path of the file: `kspace`, `reconstruction_rss`, `ismrmrd_header`, `mask` where k-space is
        masked; attributes acquisition, max, norm, anatomy, acceleration, of masked files also
        num_low_frequency, and the volume's own (such as patient_id, a hash).
    """
    path = root / f"multicoil_{split}" / f"{volume.name}.h5"
    height, width = volume.kspace_ZCHW.shape[-2:]
    attributes = {
        "acquisition": ACQUISITION.get(volume.anatomy, volume.anatomy),
        "anatomy": volume.anatomy,
        "acceleration": volume.acceleration,
        **volume.attributes,
    }
    datasets: dict[str, npt.NDArray[Any]] = {"kspace": volume.kspace_ZCHW}
    target_hw = (height, width)
    if volume.target_ZHW is not None:
        datasets["reconstruction_rss"] = volume.target_ZHW
        attributes["max"] = float(volume.target_ZHW.max())
        attributes["norm"] = float(np.linalg.norm(volume.target_ZHW))
        target_hw = volume.target_ZHW.shape[1:]
    if not volume.full:
        datasets["mask"] = volume.mask.lines.astype(np.float32)
        attributes["num_low_frequency"] = volume.mask.acs_count
    header = _HEADER.format(
        h=height, w=width, th=target_hw[0], tw=target_hw[1], last=width - 1, centre=width // 2
    )
    datasets["ismrmrd_header"] = np.array(header.encode())
    write_hdf5(path, datasets, attributes)
    return path
