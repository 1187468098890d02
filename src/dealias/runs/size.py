"""How large the data are that a plan is made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dealias.data.narrow import refuse_cache
from dealias.data.remask import MaskSettings
from dealias.errors import SettingsError
from dealias.io.mask import load_mask
from dealias.physics.sampling.table import FAMILIES
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan


@dataclass(frozen=True)
class Size:
    """The largest slice of a data set, and how many slices there are.

    Attributes:
        coils: C.
        hw: (H, W) of k-space.
        target_hw: (H, W) of the image that is scored.
        slices: Of an epoch, each counted as often as it is seen, or None where unknown.
        val_slices: Of a validation.
        two_axes: Whether masks run over both axes, so that no readout can be transformed first.
        cached: Whether slices come from a cache: the rows that the network sees, transformed.
    """

    coils: int
    hw: tuple[int, int]
    target_hw: tuple[int, int]
    slices: int | None = None
    val_slices: int = 0
    two_axes: bool = False
    cached: bool = False

    def __str__(self) -> str:
        sizes = "x".join(map(str, (self.coils, *self.hw)))
        text = f"{sizes}, target {self.target_hw[0]}x{self.target_hw[1]}"
        return f"{text}, cached" if self.cached else text


def size_of_text(shape: str, target: str | None, slices: int | None, masks: MaskSettings) -> Size:
    """A size from the command line.

    Args:
        shape: "16x640x368": coils, readout, phase encode.
        target: "384x384", or None for the whole field of view.
        slices: Of the training set, or None.
        masks: The recipe's.

    Raises:
        SettingsError: A shape that is none.
    """
    coils, height, width = _sizes("--shape", shape, 3)
    rows, columns = _sizes("--target", target, 2) if target is not None else (height, width)
    two = _two_axes(masks, ())
    seen = None if slices is None else masks.copies * slices
    return Size(coils, (height, width), (rows, columns), seen, 0, two)


def size_of_scans(
    train: Sequence[Scan], val: Sequence[Scan], needs: Needs, masks: MaskSettings
) -> Size:
    """The size of a data set: its largest training slice, as the network will see it.

    Args:
        train: Training scans, at least one.
        val: Validation scans.
        needs: What the network asks for.
        masks: The recipe's.

    Raises:
        DataError: The scans are cached and the cache does not serve the network.
    """
    refuse_cache((*train, *val), needs, masks)
    largest = max(train, key=lambda scan: _elements(scan, needs))
    return Size(
        largest.shape[1],
        (largest.shape[2], largest.shape[3]),
        largest.geometry.target_hw,
        masks.copies * sum(scan.slices for scan in train),
        sum(scan.slices for scan in val),
        _two_axes(masks, train),
        largest.cached is not None,
    )


def _elements(scan: Scan, needs: Needs) -> int:
    start, stop = needs.rows(scan.shape[2], scan.geometry.target_hw[0])
    return needs.coils(scan.shape[1]) * (stop - start) * scan.shape[3]


def _two_axes(masks: MaskSettings, scans: Sequence[Scan]) -> bool:
    axes = [FAMILIES[kind].axes for kind in masks.families]
    if "stored" in masks.kinds:
        axes += [scan.mask.axes for scan in scans if scan.mask is not None]
    if masks.file is not None:
        axes.append(load_mask(masks.file).axes)
    return any(len(one) == 2 for one in axes)


def _sizes(option: str, text: str, count: int) -> list[int]:
    parts = text.lower().split("x")
    if len(parts) != count or not all(part.isdigit() and int(part) > 0 for part in parts):
        example = {3: "coils x readout x phase encode, such as 16x640x368", 2: "such as 384x384"}
        raise SettingsError(option, f"'{text}'", example[count])
    return [int(part) for part in parts]
