"""The loss: sums of terms, shading, weights by anatomy, and what an epoch switches on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dealias.config.compose import load_recipe
from dealias.config.schema import Recipe
from dealias.config.validate import checked
from dealias.data.area import area_weight
from dealias.data.remask import MaskSettings
from dealias.data.samples import Samples, collate
from dealias.errors import SettingsError
from dealias.metrics.protocol import PROTOCOLS
from dealias.metrics.similarity import ssim
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan
from dealias.training import reconstruction
from dealias.training.loader import batches
from dealias.training.loop import TrainingJob, train
from dealias.training.losses import LossSettings, loss

Make = Callable[..., TrainingJob]
MakeScan = Callable[..., Scan]


def items(dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Three slices: one in part anatomy, one whole, one without any."""
    generator = torch.Generator().manual_seed(4)
    image, target = torch.rand(2, 3, 20, 24, generator=generator, dtype=dtype) * 1e-4
    foreground = torch.zeros(3, 20, 24, dtype=dtype)
    foreground[0, 3:15, 4:20], foreground[1] = 1, 1
    return {
        "image_BHW": image,
        "target_BHW": target,
        "foreground_BHW": foreground,
        "range_B": torch.tensor([1e-4, 1.4e-4, 0.8e-4], dtype=dtype),
    }


def found(epoch: int = 0, changed: dict[str, Tensor] | None = None, **settings: Any) -> Tensor:
    return loss(LossSettings(**settings), epoch, **{**items(), **(changed or {})})


def term(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, **more}


@pytest.mark.parametrize("kind", ["ssim", "l1"])
def test_one_term_is_what_it_was_before_there_were_several(kind: str) -> None:
    """To the bit, in float32, value and gradient."""
    x, y, inside, span = items(torch.float32).values()
    image, again = x.clone().requires_grad_(), x.clone().requires_grad_()
    if kind == "ssim":
        value, settings = 1 - ssim(image * inside, y * inside, span), LossSettings()
    else:
        value = torch.mean(((image - y) / span[:, None, None]).abs(), dim=(-2, -1))
        settings = LossSettings(kind="l1", foreground=False)
    ours = loss(settings, 0, again, y, inside, span)
    torch.stack((value, ours)).sum().backward()
    assert torch.equal(ours, value)
    assert image.grad is not None and again.grad is not None
    assert torch.equal(again.grad, image.grad)


def test_the_loss_is_the_challenges_number(make_scan: MakeScan) -> None:
    scan = make_scan(1, hw=(128, 112), slices=3)
    rng = np.random.default_rng(5)
    target = scan.target(slice(None))
    assert target is not None
    recon = target * rng.uniform(0.8, 1.2, target.shape) + 1e-5 * rng.random(target.shape)
    recon = recon.astype(np.float32)
    samples = Samples([scan], MaskSettings(), Needs(), 0)
    batch = collate([samples[0, z] for z in range(3)])
    assert 0.1 < float(batch.foreground_BHW.mean()) < 0.95
    scored = [one.ssim for one in PROTOCOLS["snu2025"].score(recon, scan).slices]
    # the range as the file states it: a batch's is float32
    span = torch.full((3,), scan.data_range or 0.0, dtype=torch.float64)
    images = torch.from_numpy(recon).double(), batch.target_BHW.double()
    ours = 1 - loss(LossSettings(), 0, *images, batch.foreground_BHW.double(), span)
    assert ours.tolist() == pytest.approx(scored, abs=1e-12)
    unmasked = 1 - loss(LossSettings(foreground=False), 0, *images, batch.foreground_BHW, span)
    assert float(unmasked[0]) < float(ours[0]) - 1e-3


def test_weights_sum() -> None:
    one, other = found(terms=[term("ssim")]), found(terms=[term("l1")])
    both = found(terms=[term("ssim", weight=0.5), term("l1", weight=3)])
    assert torch.allclose(both, 0.5 * one + 3 * other, atol=1e-15)
    assert float((one - other).abs().min()) > 1e-3 or not float(one[2])


def test_shading() -> None:
    data = items()
    x, y, inside, _ = data.values()
    assert torch.equal(found(shade=1), found(foreground=False))
    by_hand = {"image_BHW": x * inside, "target_BHW": y * inside}
    assert torch.equal(found(), found(changed=by_hand, foreground=False))
    kept = torch.where(inside == 1, 1.0, 0.3)
    by_hand = {"image_BHW": x * kept, "target_BHW": y * kept}
    assert torch.allclose(found(shade=0.3), found(changed=by_hand, foreground=False), atol=1e-15)
    assert len({float(found(shade=shade)[0]) for shade in (0, 0.3, 1)}) == 3


def test_a_term_may_look_beyond_the_foreground() -> None:
    parts = [term("ssim"), term("l1", foreground=False)]
    expected = found(terms=[term("ssim")]) + found(terms=[term("l1")], foreground=False)
    assert torch.allclose(found(terms=parts), expected, atol=1e-15)
    inside = [term("ssim"), term("l1", foreground=True)]
    expected = found(terms=[term("ssim")], foreground=False) + found(terms=[term("l1")])
    assert torch.allclose(found(terms=inside, foreground=False), expected, atol=1e-15)


def test_what_an_epoch_switches_on() -> None:
    plain, later = [term("ssim")], [term("ssim"), term("l2", weight=7, from_epoch=3)]
    assert torch.equal(found(2, terms=later), found(terms=plain))
    assert torch.equal(found(3, terms=later), found(terms=[term("ssim"), term("l2", weight=7)]))
    assert torch.equal(found(4, foreground_from_epoch=5), found(foreground=False))
    assert torch.equal(found(5, foreground_from_epoch=5), found())
    area = {"area_B": torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64)}
    assert torch.equal(found(1, area, area=True, area_from_epoch=2), found())
    assert torch.equal(found(2, area, area=True, area_from_epoch=2), found() * area["area_B"])
    settings = LossSettings(terms=later, area_from_epoch=2, foreground_from_epoch=1)
    assert settings.settled == 3
    assert LossSettings(area_from_epoch=2, foreground_from_epoch=4).settled == 4
    assert LossSettings(area_from_epoch=6).settled == 6
    assert LossSettings().settled == 0


def test_weights_that_nobody_made_are_missed() -> None:
    with pytest.raises(ValueError, match="samples were not asked"):
        found(area=True)


def test_a_slice_without_anatomy_teaches_nothing() -> None:
    data = items()
    image = data.pop("image_BHW").requires_grad_()
    kinds = ("ssim", "l1", "l2", "psnr", "ms-ssim-l1", "kspace-l1")
    values = loss(LossSettings(terms=[term(kind) for kind in kinds]), 0, image, **data)
    values.sum().backward()
    assert image.grad is not None and bool(values.isfinite().all())
    assert bool((image.grad[2] == 0).all()) and bool((image.grad[1] != 0).all())


def test_a_recipe_says_one_kind_or_terms() -> None:
    assert load_recipe("varnet").loss == LossSettings(terms=[term("ssim")])
    assert load_recipe("unet").loss == LossSettings(terms=[term("l1")], foreground=False)
    assert load_recipe("varnet", ["loss.kind=l1"]).loss == LossSettings(terms=[term("l1")])
    written = "loss.terms=[{kind:ssim},{kind:l1,weight:2,from_epoch:3}]"
    recipe = load_recipe("varnet", [written, "loss.area=true"])
    both = [term("ssim"), term("l1", weight=2, from_epoch=3)]
    assert recipe.loss == LossSettings(terms=both, area=True)
    again = checked(Recipe, recipe.model_dump(mode="json"))
    assert again.loss == recipe.loss


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"kind": "ms-sim"}, r"loss.terms.0.kind: found 'ms-sim'.*did you mean 'ms-ssim'"),
        ({"terms": [term("l1", wieght=2)]}, r"loss.terms.0.wieght.*unknown key.*'weight'"),
        ({"terms": [term("l1", weight=-1)]}, r"loss.terms.0.weight: found -1.*greater than 0"),
        ({"terms": [term("l1", weight=True)]}, r"loss.terms.0.weight.*no truth value"),
        ({"terms": [term("l1", from_epoch=1)]}, r"loss.terms:.*a term from epoch 0 on"),
        ({"terms": []}, r"loss.terms: found \[\]"),
        ({"kind": "l1", "terms": [term("ssim")]}, r"loss:.*but not both"),
        ({"shade": 1.5}, r"loss.shade: found 1.5"),
    ],
)
def test_a_mistake_is_one_line(written: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        checked(Recipe, {"name": "x", "loss": written})


SIDES = (36, 18, 0)


@dataclass(frozen=True)
class Squares:
    """A volume whose slices show squares of these sides, far from any edge."""

    reads: list[int]

    def kspace(self, z: slice) -> Any:
        return np.zeros((1, 2, 80, 84), np.complex64)

    def image(self, kind: str, z: slice) -> Any:
        if kind != "target":
            return None
        self.reads.append(z.start)
        image = np.zeros((1, 80, 84), np.float32)
        image[0, 20 : 20 + SIDES[z.start], 24 : 24 + SIDES[z.start]] = 1e-4
        return image


def squares(make_scan: MakeScan) -> Scan:
    """The closing of a square is the square."""
    scan = make_scan(1, hw=(80, 84), slices=3)
    return replace(scan, source=Squares([]), data_range=1e-4)


def test_slices_count_by_the_root_of_their_share_of_anatomy(make_scan: MakeScan) -> None:
    samples = Samples([squares(make_scan)], MaskSettings(), Needs(), 0, area=True)
    batch = collate([samples[0, z] for z in range(3)])
    assert [float(one.sum()) for one in batch.foreground_BHW] == [36**2, 18**2, 0]
    assert batch.area_B is not None and batch.area_B.tolist() == [1, 0.5, 0]
    assert collate([Samples([squares(make_scan)], MaskSettings(), Needs(), 0)[0, 1]]).area_B is None


def test_an_augmented_slice_is_weighed_anew_and_none_above_one() -> None:
    inside = np.zeros((10, 10), np.float32)
    inside[:3, :3] = 1
    assert area_weight(inside, 36) == 0.5
    assert area_weight(inside, 4) == 1
    assert area_weight(np.zeros((10, 10)), 0) == 0


def test_a_volume_is_looked_through_once_whoever_reads(make_scan: MakeScan) -> None:
    scan = squares(make_scan)
    samples = Samples([scan], MaskSettings(), Needs(), 0, area=True)
    groups = [(0,), (1,), (2,)]
    worked = list(batches(samples, 0, groups, workers=2))
    assert [float(one.area_B) for one in worked if one.area_B is not None] == [1, 0.5, 0]
    # the workers are gone, what they found is known
    plain = list(batches(samples, 1, groups, workers=0))
    assert [float(one.area_B) for one in plain if one.area_B is not None] == [1, 0.5, 0]
    assert scan.source.reads == [0, 1, 2]  # type: ignore[attr-defined]


def test_training_hands_epochs_and_weights_to_the_loss(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, int]] = []

    def spy(settings: LossSettings, epoch: int, *tensors: Any) -> Tensor:
        heard.append((epoch, len(tensors[-1])))
        return loss(settings, epoch, *tensors)

    monkeypatch.setattr(reconstruction, "loss", spy)
    train(replace(make_job("run"), loss=LossSettings(area=True)))
    assert heard == [(0, 1)] * 8 + [(1, 1)] * 8


def test_images_too_small_for_a_term_stop_training_in_one_line(make_job: Make) -> None:
    with pytest.raises(SettingsError, match="'ms-ssim': found images of 2[04] x 2[04]; expected"):
        train(replace(make_job("run"), loss=LossSettings(kind="ms-ssim")))
