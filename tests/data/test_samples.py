"""Training samples: draws are counted, batches hold one shape, an epoch holds each sample once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from dealias.data.catalogue import open_split
from dealias.data.order import epoch_batches
from dealias.data.remask import MaskSettings, training_mask
from dealias.data.samples import Samples, collate
from dealias.errors import DataError
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.maps import espirit_maps
from dealias.scan.measurement import Needs
from dealias.training.loader import batches

RANDOM = MaskSettings(kind="random", accelerations=(2, 4))


def test_a_sample_is_a_function_of_seed_epoch_and_index(root: Path) -> None:
    scans = open_split(root, "train")
    a, b = (Samples(scans, RANDOM, Needs(), seed=1) for _ in range(2))
    for index in (4, 0, 4):
        assert a[(3, index)].mask == b[(3, index)].mask
        assert torch.equal(a[(3, index)].kspace_SCHW, b[(3, index)].kspace_SCHW)
    drawn = {a[(epoch, index)].mask for epoch in range(4) for index in range(6)}
    assert len(drawn) > 12
    other = Samples(scans, RANDOM, Needs(), seed=2)
    assert any(a[(0, i)].mask != other[(0, i)].mask for i in range(6))


def test_workers_give_the_same_batches_in_the_same_order(root: Path) -> None:
    samples = Samples(open_split(root, "train"), RANDOM, Needs(), seed=1)
    groups = epoch_batches(samples.keys(), 2, 1, 0)
    plain, worked = (list(batches(samples, 0, groups, workers)) for workers in (0, 2))
    assert [one.names for one in plain] == [one.names for one in worked]
    for a, b in zip(plain, worked, strict=True):
        assert a.masks == b.masks
        assert torch.equal(a.kspace_BSCHW, b.kspace_BSCHW)
        assert torch.equal(a.target_BHW, b.target_BHW)


def test_the_loader_pins_a_batchs_kspace(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not there is a GPU here: torch asks whatever it does not know to do it."""
    pinned: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    batch = collate([Samples(open_split(root, "train"), RANDOM, Needs(), seed=1)[(0, 0)]])
    assert pin_memory(batch).names == batch.names
    assert [one.data_ptr() for one in pinned] == [batch.kspace_BSCHW.data_ptr()]


def test_the_target_is_the_stored_one_and_equals_the_rss(root: Path) -> None:
    scan = open_split(root, "train")[0]
    sample = Samples([scan], RANDOM, Needs(), seed=1)[(0, 1)]
    made = rss(ifft(torch.from_numpy(scan.kspace(1)[0])), 0)[4:24, 2:22]
    torch.testing.assert_close(sample.target_HW, made, rtol=1e-5, atol=1e-9)
    assert sample.data_range == scan.data_range


def test_adjacent_slices_stop_at_the_volumes_ends(root: Path) -> None:
    scan = open_split(root, "train")[0]
    samples = Samples([scan], RANDOM, Needs(slices=3), seed=1)
    for index, around in enumerate([(0, 0, 1), (0, 1, 2), (1, 2, 2)]):
        expected = np.concatenate([scan.kspace(z) for z in around])
        np.testing.assert_array_equal(samples[(0, index)].kspace_SCHW.numpy(), expected)


def test_masked_scans_cannot_be_masked_anew(root: Path) -> None:
    scan = open_split(root, "leaderboard/acc4")[0]
    assert training_mask(MaskSettings(kind="stored"), scan, 1, 0, 0) == snu_mask(24, 4)
    with pytest.raises(DataError, match="masked already.*masks.kind=stored"):
        training_mask(RANDOM, scan, 1, 0, 0)


def test_accelerations_are_drawn_evenly(root: Path) -> None:
    scan = open_split(root, "train")[0]
    settings = MaskSettings(kind="snu", accelerations=(4, 8))
    drawn = Counter(training_mask(settings, scan, 7, 0, i).nominal for i in range(400))
    assert set(drawn) == {4.0, 8.0}
    assert abs(drawn[4.0] - 200) < 4 * 10  # four standard deviations


SHAPES = ["a"] * 7 + ["b"] * 4 + ["c"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 20])
def test_an_epoch_holds_each_sample_once_in_batches_of_one_shape(size: int) -> None:
    groups = epoch_batches(SHAPES, size, 1, 0)
    assert sorted(index for group in groups for index in group) == list(range(len(SHAPES)))
    for group in groups:
        assert len({SHAPES[index] for index in group}) == 1
        assert 1 <= len(group) <= size
    assert len(groups) == sum(-(-count // size) for count in Counter(SHAPES).values())
    assert groups != epoch_batches(SHAPES, size, 1, 1) or size == 20
    assert groups == epoch_batches(SHAPES, size, 1, 0)


def test_batches_of_different_shapes_are_mixed_over_the_epoch() -> None:
    """Shape after shape would let the last one's slices have the last word in every epoch."""
    keys = ["a"] * 50 + ["b"] * 50
    order = [keys[group[0]] for group in epoch_batches(keys, 1, 1, 0)]
    switches = sum(a != b for a, b in zip(order, order[1:], strict=False))
    assert switches > 30


def test_collate_keeps_what_belongs_together(root: Path) -> None:
    samples = Samples(open_split(root, "train"), RANDOM, Needs(), seed=1)
    batch = collate([samples[(0, i)] for i in (4, 1)])
    assert batch.names == (("brain_acc4_1", 1), ("brain_acc4_0", 1))
    assert batch.masks == (samples[(0, 4)].mask, samples[(0, 1)].mask)
    ranges = [scan.data_range for scan in open_split(root, "train")][::-1]
    assert batch.range_B.tolist() == pytest.approx(ranges)


def test_a_mask_is_drawn_for_its_place_alone(root: Path) -> None:
    """Neither the scan nor what was drawn before plays a part."""
    first, second = open_split(root, "train")
    for kind in ("snu", "equispaced", "random"):
        settings = MaskSettings(kind=kind, accelerations=(2, 3, 4))  # type: ignore[arg-type]
        plain = [training_mask(settings, first, 1, 2, i) for i in range(20)]
        assert [training_mask(settings, second, 1, 2, i) for i in reversed(range(20))] == plain[
            ::-1
        ]
        assert len({(mask.nominal, mask.offset, mask) for mask in plain}) > 1
        for other in ((2, 2), (1, 3)):
            assert [training_mask(settings, first, *other, i) for i in range(20)] != plain


def test_equispaced_masks_start_anywhere(root: Path) -> None:
    scan = open_split(root, "train")[0]
    settings = MaskSettings(kind="equispaced", accelerations=(4,))
    drawn = {training_mask(settings, scan, 1, 0, i).offset for i in range(60)}
    assert drawn == {0, 1, 2, 3}


def test_a_scan_without_a_mask_cannot_be_seen_through_its_own(root: Path) -> None:
    path = root / "train" / "kspace" / "brain_acc4_0.h5"
    with h5py.File(path, "a") as file:
        del file["mask"]
    with pytest.raises(DataError, match="brain_acc4_0: found no mask.*set masks.kind=snu"):
        Samples(open_split(root, "train"), MaskSettings(), Needs(), seed=1)[(0, 0)]


@pytest.mark.parametrize("stated", [None, 0.0])
def test_a_maximum_that_nobody_states_is_the_volumes(root: Path, stated: float | None) -> None:
    path = root / "train" / "image" / "brain_acc4_0.h5"
    with h5py.File(path, "a") as file:
        top = float(file["image_label"][:].max())
        del file.attrs["max"]
        if stated is not None:
            file.attrs["max"] = stated
    samples = Samples(open_split(root, "train")[:1], RANDOM, Needs(), seed=1)
    assert [samples[(0, z)].data_range for z in range(3)] == [top] * 3


def test_seeds_and_epochs_order_anew() -> None:
    orders = {
        tuple(epoch_batches(["a"] * 12, 4, seed, epoch)) for seed in (1, 2) for epoch in (0, 1)
    }
    assert len(orders) == 4


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_largest_batch_is_the_first_of_all(size: int) -> None:
    elements = [{"a": 10, "b": 30, "c": 200}[key] for key in SHAPES]
    for seed in range(5):
        plain = epoch_batches(SHAPES, size, seed, 0)
        moved = epoch_batches(SHAPES, size, seed, 0, elements)
        totals = [sum(elements[index] for index in group) for group in moved]
        assert totals[0] == max(totals)
        # the others follow in the order they had
        assert moved[1:] == [group for group in plain if group != moved[0]]
        assert epoch_batches(SHAPES, size, seed, 1, elements) == epoch_batches(
            SHAPES, size, seed, 1
        )
    assert epoch_batches([], 1, 0, 0, []) == []


@pytest.mark.parametrize(("needs", "rows"), [(Needs(), 28), (Needs(readout_crop=2), 24),
                                             (Needs(readout_crop=20), 28)])  # fmt: skip
def test_sizes_are_what_the_network_sees(root: Path, needs: Needs, rows: int) -> None:
    samples = Samples(open_split(root, "train"), RANDOM, needs, seed=1)
    batch = collate([samples[(0, 0)]])
    seen = batch.measurement(needs, torch.device("cpu")).kspace_BSCHW
    assert seen.shape[-2] == rows
    assert samples.sizes() == [seen.numel()] * 6


def test_maps_are_made_of_the_acs_lines_of_each_samples_mask(root: Path) -> None:
    scans = open_split(root, "train")
    samples = Samples(scans, RANDOM, Needs(maps="espirit", slices=3), seed=1)
    batch = collate([samples[0, index] for index in (1, 2)])
    assert batch.sens_BSCHW is not None
    wanted = espirit_maps(batch.kspace_BSCHW, list(batch.masks), "a")
    assert torch.equal(batch.sens_BSCHW, wanted)
    masked = torch.where(torch.tensor(batch.masks[0].acs_lines()), batch.kspace_BSCHW[:1], 0)
    assert torch.equal(espirit_maps(masked, [batch.masks[0]], "a"), wanted[:1])
    m = batch.measurement(samples.needs, torch.device("cpu"))
    assert m.sens_BSCHW is not None
    assert m.sens_BSCHW.shape == m.kspace_BSCHW.shape
    assert collate([Samples(scans, RANDOM, Needs(), seed=1)[0, 0]]).sens_BSCHW is None
