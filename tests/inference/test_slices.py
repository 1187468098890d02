"""Some slices of a scan are what they are among all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dealias.inference.slices import measurements
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan
from shared import same

CPU = torch.device("cpu")


@pytest.mark.parametrize("slices", [1, 3, 5])
def test_a_range_of_slices_is_that_part_of_all(make_scan: Callable[..., Scan], slices: int) -> None:
    scan = make_scan()
    assert scan.mask is not None
    needs = Needs(slices=slices)
    everything = dict(measurements(scan, scan.mask, needs, CPU))
    assert list(everything) == [0, 1, 2]
    for only in (range(1), range(1, 2), range(1, 3), range(2, 3), range(3)):
        found = dict(measurements(scan, scan.mask, needs, CPU, only=only))
        assert list(found) == list(only)
        for z, one in found.items():
            assert same(vars(one), vars(everything[z]))
    ((first, both),) = measurements(scan, scan.mask, needs, CPU, batch=4, only=range(1, 3))
    assert first == 1 and both.kspace_BSCHW.shape[0] == 2
    assert torch.equal(both.kspace_BSCHW[1], everything[2].kspace_BSCHW[0])
