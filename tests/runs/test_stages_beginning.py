"""What a stage begins with: all of some weights, or what fits, listed; some of it never trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.config.compose import continued, load_recipe, stage_recipes
from dealias.data.remask import MaskSettings
from dealias.engine.policies import MemoryPolicy
from dealias.errors import CheckpointError, DataError, SettingsError
from dealias.models.table import build_network
from dealias.models.varnet import VarNetSettings
from dealias.physics.sampling.snu import snu_mask
from dealias.runs.beginning import Beginning, Fit, freeze, refuse_misfit
from dealias.runs.cells import cells_of, masks_in, trained_in, validated_in
from dealias.runs.finish import checkpoint_of
from dealias.runs.folder import StageFolder
from dealias.runs.jobs import planned
from dealias.scan.measurement import Needs, measure
from dealias.scan.scan import Cell, Geometry, Scan
from shared import same

PARTS = """
network: {name: varnet, cascades: 1, channels: 2, pools: 1, sens_channels: 2, sens_pools: 1}
"""


def varnet(cascades: int, channels: int = 2) -> torch.nn.Module:
    settings = VarNetSettings(
        cascades=cascades, channels=channels, pools=1, sens_channels=2, sens_pools=1
    )
    torch.manual_seed(cascades)
    return build_network(settings)


def recipe(tmp_path: Path, stages: str, overrides: list[str] | None = None) -> Any:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{PARTS}stages:\n{stages}")
    return load_recipe(str(path), overrides)


def test_a_cascade_more_takes_the_others_weights_and_lists_its_own() -> None:
    two, three = varnet(2), varnet(3)
    fresh = {name: tensor.clone() for name, tensor in three.state_dict().items()}
    said: list[str] = []
    found = Beginning(two.state_dict(), "base:best", ())(three, said.append, said.append)
    own = [name for name in fresh if name.startswith("cascades.2.")]
    assert own
    assert found["start"] == "base:best"
    assert found["not_loaded"] == [f"{name} (missing)" for name in own]
    assert sorted(found["loaded"] + own) == sorted(fresh)
    after = three.state_dict()
    assert all(torch.equal(after[name], fresh[name]) for name in own)
    assert all(torch.equal(after[name], tensor) for name, tensor in two.state_dict().items())
    # the log has every name, the terminal the first ones and how many
    assert all(name in said[-1] for name in own)
    assert f"({len(own)} in all)" in said[0]


def test_what_does_not_fit_is_told_apart_and_refused_unless_asked_for() -> None:
    have, want = varnet(2, channels=4).state_dict(), varnet(1, channels=2).state_dict()
    fit = Fit.of(have, want)
    assert set(fit.unused) == {name for name in have if name.startswith("cascades.1.")}
    assert not fit.missing
    shapes = {name for name in want if have[name].shape != want[name].shape}
    assert shapes
    assert set(fit.reshaped) == shapes
    assert set(fit.loaded) == set(want) - shapes
    with pytest.raises(CheckpointError, match=r"of another shape: cascades.0.*unknown: cascades.1"):
        refuse_misfit("stages.b.start", fit, partial=False)
    refuse_misfit("stages.b.start", fit, partial=True)
    with pytest.raises(CheckpointError, match="unknown: x"):
        refuse_misfit("stages.b.start", Fit.of({"x": torch.ones(1)}, want), partial=True)


def gradients(network: torch.nn.Module) -> dict[str, torch.Tensor | None]:
    """Of a sum of squares of the image, by parameter."""
    rng = torch.Generator().manual_seed(4)
    kspace = torch.randn(1, 1, 2, 16, 16, dtype=torch.complex64, generator=rng)
    needs: Needs = network.needs  # type: ignore[assignment]
    image = network(measure(kspace, [snu_mask(16, 4)], (16, 16), needs)).image_BHW
    image.square().sum().backward()
    return {name: p.grad for name, p in network.named_parameters()}


@pytest.mark.parametrize("policy", [MemoryPolicy(), MemoryPolicy(cascades="recompute", coils=1)])
def test_frozen_parameters_get_no_gradient_and_the_others_the_same(policy: MemoryPolicy) -> None:
    whole, part = varnet(2), varnet(2)
    names = freeze(part, ["cascades.0.*", "sens*"])
    assert names
    assert all(name.startswith(("cascades.0.", "sens")) for name in names)
    for network in (whole, part):
        policy.apply(network)
    expected, found = gradients(whole), gradients(part)
    assert {name for name, one in found.items() if one is None} == set(names)
    for name in set(expected) - set(names):
        assert same(found[name], expected[name])
        assert expected[name].abs().sum() > 0  # type: ignore[union-attr]
    with pytest.raises(SettingsError, match=r"'cascade.0.*'.*did you mean 'cascades"):
        freeze(whole, ["cascade.0.*"])
    with pytest.raises(SettingsError, match="patterns of all parameters"):
        freeze(varnet(1), ["*"])


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("  a: {start: 'b:last'}\n  b: {}\n", r"stages.a.start: found 'b'.*it is the first"),
        ("  base: {}\n  b: {start: 'bse:last'}\n", r"stages.b.start.*did you mean 'base'"),
        ("  a: {each: cell}\n  b: {start: 'a:last'}\n", r"stages.b.start.*each: cell here, too"),
        ("  a: {pick: best@cell}\n", r"stages.a.pick"),
        ("  model: {}\n", r"stages.model"),
        ("  ../a: {}\n", r"stages.../a: found '../a'"),
        ("  a: {set: [stages.b.pick=last]}\n", r"stages.a.set.*settings of a training"),
        ("  a: {sett: []}\n", r"stages.a.sett: found an unknown key.*did you mean 'set'"),
        ("  a: {start: {from: x, partal: true}}\n", r"stages.a.start.partal.*'partial'"),
        ("  a: {}\nbundle: {route: {else: b}}\n", r"bundle.route.else: found 'b'.*one of a"),
        ("  a: {}\nbundle: {route: {snu_rule: a}}\n", r"bundle.route: found only snu_rule"),
        ("  a: {}\nbundle: {}\n", r"bundle: found neither"),
        ("  a: {}\nbundle: {ensemble: [a, a]}\n", r"bundle.ensemble: found 'a' twice"),
        ("  a: {}\nbundle: {ensemble: [a], weights: [0.5]}\n", r"bundle.weights.*1 in all"),
    ],
)
def test_stages_that_do_not_go_together(tmp_path: Path, stages: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        recipe(tmp_path, stages)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("  a: {}\n  b: {set: [optimiser.lt=1]}\n", r"stage 'b': optimiser.lt.*did you mean"),
        (
            "  a: {}\n  b: {set: [network.cascades=2], start: 'a:last'}\n",
            r"stages.b.start: found missing: cascades.1.*partial: true",
        ),
        ("  a: {}\n  b: {freeze: ['x*']}\n", r"stages.b.freeze: found 'x\*'"),
        (
            "  a: {}\n  b: {set: [training.compile=true, memory.cascades=keep_convolutions]}\n",
            r"memory.cascades",
        ),
        ("  a: {start: nowhere.safetensors}\n", r"nowhere.safetensors"),
    ],
)
def test_all_stages_are_judged_before_the_first_begins(
    tmp_path: Path, stages: str, message: str
) -> None:
    # before data are looked for: there are none
    with pytest.raises((SettingsError, CheckpointError), match=message):
        planned(recipe(tmp_path, stages), tmp_path / "none")


def test_overrides_hold_in_every_stage_and_later_ones_from_there_on(tmp_path: Path) -> None:
    stages = "  a: {}\n  b: {set: [optimiser.lr=2e-4]}\n"
    found = recipe(tmp_path, stages, ["optimiser.lr=5e-5", "stages.a.pick=last"])
    assert [one.optimiser.lr for one in stage_recipes(found).values()] == [5e-5, 5e-5]
    assert found.stages["a"].pick == "last"
    later = continued(recipe(tmp_path, stages), ["optimiser.lr=1e-6"], {"b"})
    assert [one.optimiser.lr for one in stage_recipes(later).values()] == [1e-3, 1e-6]
    # and what a run writes of them says the same
    again = type(found).model_validate(json.loads(later.model_dump_json(exclude_unset=True)))
    assert stage_recipes(again) == stage_recipes(later)


def scan(name: str, cell: Cell | None) -> Scan:
    grid = Geometry((4, 4), (4, 4))
    return Scan(name, (1, 1, 4, 4), None, True, grid, None, cell)  # type: ignore[arg-type]


def test_a_cells_scans_follow_from_how_they_are_masked() -> None:
    labels = {"a": Cell("brain", 4), "b": Cell("brain", 8), "c": Cell("knee", 4)}
    scans = tuple(scan(name, cell) for name, cell in labels.items())
    masked_anew = MaskSettings(kind="snu", accelerations=(4, 8))
    own = MaskSettings()
    partly = MaskSettings.model_validate({"mixture": [{"kind": "random", "accelerations": [3]}]})
    four = [Cell(a, r) for a in ("brain", "knee") for r in (4, 8)]
    assert cells_of(scans, masked_anew) == tuple(four)
    assert cells_of(scans, own) == cells_of(scans, partly) == (four[0], four[1], four[2])
    brain8 = Cell("brain", 8)
    kinds = {"anew": masked_anew, "own": own, "partly": partly}
    names = {
        kind: [one.name for one in trained_in(brain8, scans, masks)]
        for kind, masks in kinds.items()
    }
    assert names == {"anew": ["a", "b"], "own": ["b"], "partly": ["b"]}
    assert [one.name for one in validated_in(brain8, scans)] == ["b"]
    assert masks_in(brain8, masked_anew).accelerations == (8,)
    # kinds in a mixture have no accelerations of their own then
    assert masks_in(brain8, partly).mixture[0].accelerations is None
    with pytest.raises(DataError, match="d: found no label"):
        cells_of((*scans, scan("d", None)), own)
    with pytest.raises(DataError, match="plain word"):
        cells_of((scan("e", Cell("../brain", 4)),), own)


def test_which_checkpoint_is_picked(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path)
    checkpoints = tmp_path / "checkpoints"
    for name in ("000001", "000002"):
        (checkpoints / name).mkdir(parents=True)
    (checkpoints / "latest").write_text("000002\n")
    # nothing was validated
    assert checkpoint_of(folder, "best", print).name == "000002"
    (checkpoints / "best").write_text("000001\n")
    names = [checkpoint_of(folder, pick, print).name for pick in ("best", "best@cell", "last")]
    assert names == ["000001", "000001", "000002"]
    (checkpoints / "latest").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoint_of(folder, "last", print)
