"""The data's own GRAPPA images reach a network that asks for them, in training and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from dealias.data.catalogue import open_split
from dealias.data.remask import MaskSettings
from dealias.data.samples import Samples, collate
from dealias.errors import DataError
from dealias.inference.reconstruct import measurements
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan

STORED = Needs(priors=("grappa",), stored_priors=True)
MADE = Needs(priors=("grappa",))
CPU = torch.device("cpu")
OWN = np.random.default_rng(0).random((3, 20, 20)).astype(np.float32)


@pytest.fixture
def scans(root: Path, spoil: Callable[..., Path]) -> list[Scan]:
    """One scan with a GRAPPA image, and one without."""

    def add(file: h5py.File) -> None:
        file["image_grappa"] = OWN

    spoil(add, "image")
    return list(open_split(root, "train"))


def seen(scans: list[Scan], needs: Needs, *indices: int, kind: Any = "stored") -> torch.Tensor:
    masks = MaskSettings(kind=kind)
    samples = Samples(scans, masks, needs, seed=1)
    m = collate([samples[(0, index)] for index in indices]).measurement(needs, CPU)
    return m.window(m.priors["grappa"])


def test_it_is_the_stored_one_where_there_is_one(scans: list[Scan]) -> None:
    own, made = seen(scans, STORED, 1, 4), seen(scans, MADE, 1, 4)
    assert torch.equal(own[0], torch.from_numpy(OWN[1]))
    assert torch.equal(own[1], made[1])
    assert not torch.allclose(made[0], own[0])


def test_under_another_mask_it_is_made(scans: list[Scan]) -> None:
    own, made = (seen(scans, needs, 1, kind="random") for needs in (STORED, MADE))
    assert torch.equal(own, made)


def test_reconstruction_sees_what_training_saw(scans: list[Scan]) -> None:
    scan = scans[0]
    assert scan.mask is not None
    own = list(measurements(scan, scan.mask, STORED, CPU, batch=2))
    found = torch.cat([m.window(m.priors["grappa"]) for _, m in own])
    assert torch.equal(found, torch.from_numpy(OWN))
    (_, first), *_ = measurements(scan, snu_mask(24, 2), STORED, CPU)
    assert not torch.allclose(first.window(first.priors["grappa"]), found[:1])


def test_a_cache_has_none(scans: list[Scan]) -> None:
    cached: Any = object()
    scan = replace(scans[0], cached=cached)
    assert scan.mask is not None
    assert scan.stored(MADE, scan.mask, 0) == {}
    with pytest.raises(DataError, match=r"a cache; expected images beside k-space: grappa"):
        scan.stored(STORED, scan.mask, 0)
