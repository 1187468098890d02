"""Whether a cache serves a network."""

from __future__ import annotations

from collections.abc import Sequence

from dealias.data.remask import MaskSettings, training_mask
from dealias.scan.hybrid import refuse_planes, refuse_unless_kept
from dealias.scan.maps import refuse_maps_of_cache
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan


def refuse_cache(scans: Sequence[Scan], needs: Needs, masks: MaskSettings) -> None:
    """Refuse cached scans that a network cannot be trained on; others pass.

    Raises:
        DataError: A cache does not hold all rows that the network sees, masks are 2-D, or the
            network asks for maps.
    """
    drawn: set[tuple[int, ...]] = set()
    for scan in scans:
        if scan.cached is None:
            continue
        if needs.maps == "espirit":
            refuse_maps_of_cache(scan)
        encoded = scan.shape[2]
        needed = needs.rows(encoded, scan.geometry.target_hw[0])
        refuse_unless_kept(scan.name, scan.cached.rows, needed, encoded)
        # a cache holds no scan with a 2-D mask of its own; of a family, one mask tells of all
        if masks.kind != "stored" and scan.full and scan.shape[2:] not in drawn:
            drawn.add(scan.shape[2:])
            refuse_planes(scan.name, training_mask(masks, scan, 0, 0, 0).axes)
