"""Whether a cache serves a network."""

from __future__ import annotations

from collections.abc import Sequence

from dealias.data.augment import UNAUGMENTED, AugmentSettings
from dealias.data.augment_slices import anatomy_of
from dealias.data.remask import MaskSettings, mask_axes
from dealias.scan.hybrid import refuse_planes, refuse_unless_kept
from dealias.scan.maps import refuse_maps_of_cache
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan


def refuse_cache(
    scans: Sequence[Scan],
    needs: Needs,
    masks: MaskSettings,
    augment: AugmentSettings = UNAUGMENTED,
) -> None:
    """Refuse cached scans that a network cannot be trained on; others pass.

    Args:
        scans: Of one set.
        needs: What the network asks for.
        masks: How they are masked.
        augment: How they are augmented: every row is needed where rows are moved.

    Raises:
        DataError: A cache does not hold all rows that the network or augmentation sees, masks are
            2-D, or the network asks for maps.
    """
    drawn: set[tuple[int, ...]] = set()
    for scan in scans:
        if scan.cached is None:
            continue
        if needs.maps == "espirit":
            refuse_maps_of_cache(scan)
        encoded = scan.shape[2]
        moved = augment.of(anatomy_of(scan)).moves_rows
        needed = (0, encoded) if moved else needs.rows(encoded, scan.geometry.target_hw[0])
        refuse_unless_kept(scan.name, scan.cached.rows, needed, encoded)
        # a cache holds no scan with a 2-D mask of its own
        if scan.full and scan.shape[2:] not in drawn:
            drawn.add(scan.shape[2:])
            refuse_planes(scan.name, mask_axes(masks, scan) or (-1,))
