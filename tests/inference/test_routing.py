"""Routing: which expert a scan goes to, and that the reason given is the one that decided."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from dealias.cli.cmd_reconstruct import of_anatomy, said
from dealias.errors import CheckpointError, DataError, SettingsError
from dealias.inference.bundle import load_model, save_bundle
from dealias.inference.classifier import (
    Classifier,
    ClassifierSettings,
    load_classifier,
    save_classifier,
)
from dealias.inference.export import export_model
from dealias.inference.importing import broker
from dealias.inference.reconstruct import reconstruct
from dealias.inference.routing import RoutedExperts, Router, acceleration
from dealias.inference.run import reconstruct_all
from dealias.inference.slices import measurements
from dealias.io.weights import read_safetensors, write_safetensors
from dealias.models.mixture import ExpertsSettings
from dealias.models.resnet import ResNetSettings
from dealias.models.table import build_network
from dealias.models.varnet import VarNetSettings
from dealias.physics.sampling.fastmri import equispaced_mask
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.scan import Cell, Scan

CPU = torch.device("cpu")
CELLS = ("brain-x4", "brain-x8", "knee-x4", "knee-x8")
TINY = VarNetSettings(cascades=1, channels=2, pools=1, sens_channels=2, sens_pools=1)
TWO_BANKS = Router(
    snu_rule={cell: f"special/{cell}" for cell in CELLS},
    other={cell: f"robust/{cell}" for cell in CELLS},
    labels=True,
)


def experts(router: Router, classifier: Classifier | None = None) -> RoutedExperts:
    names = dict.fromkeys([*router.snu_rule.values(), *router.other.values()])
    torch.manual_seed(3)
    return RoutedExperts({name: build_network(TINY) for name in names}, router, classifier).eval()


def moved(mask: SamplingMask, line: int, to: int) -> SamplingMask:
    """The mask with one line elsewhere, and nothing else that is known of it."""
    lines = mask.lines.copy()
    lines[[line, to]] = False, True
    return SamplingMask(lines, mask.acs)


@pytest.mark.parametrize("width", [320, 322, 338, 356, 368, 370, 372, 386, 388, 392, 396, 480])
@pytest.mark.parametrize("rate", [4, 8])
def test_the_public_rule_goes_to_specialists_and_one_line_moved_does_not(
    make_scan: Callable[..., Scan], width: int, rate: int
) -> None:
    router, scan = experts(TWO_BANKS), make_scan(cell=Cell("knee", 99))
    rule = snu_mask(width, rate)
    # of what a mask says of itself, only its lines count
    plain = SamplingMask(rule.lines, (0, 0))
    route = router.route(scan, plain, CPU)
    assert route.name == f"special/knee-x{rate}"
    assert "the public rule" in route.why
    assert "by its label" in route.why
    outside = np.flatnonzero(rule.lines & ~rule.acs_lines())
    for line in (outside[0], outside[len(outside) // 2], outside[-1]):
        to = int(line) + 1 if line + 1 < width else int(line) - 1
        route = router.route(scan, moved(rule, int(line), to), CPU)
        assert route.name == f"robust/knee-x{rate}"
        assert "not the public rule" in route.why
    for offset in range(rate):
        mask = equispaced_mask(width, rate, 0.08, offset)
        bank = "special" if mask == rule else "robust"
        assert router.route(scan, mask, CPU).name == f"{bank}/knee-x{rate}"


def test_the_rule_at_an_acceleration_that_no_specialist_saw_is_any_other_mask(
    make_scan: Callable[..., Scan],
) -> None:
    route = experts(TWO_BANKS).route(make_scan(cell=Cell("brain", 4)), snu_mask(368, 5), CPU)
    assert route.name == "robust/brain-x4"
    assert "nearest is X4" in route.why


def drawn(width: int, acs: int, outside: int, seed: int) -> SamplingMask:
    """So many lines at random beside the ACS."""
    lines = np.zeros(width, bool)
    start = (width - acs + 1) // 2
    rng = np.random.default_rng(seed)
    free = np.setdiff1d(np.arange(width), np.arange(start - 1, start + acs + 1))
    lines[rng.choice(free, outside, replace=False)] = True
    lines[start : start + acs] = True
    return identify(lines)


@pytest.mark.parametrize("rate", [4, 8])
@pytest.mark.parametrize("width", [320, 368, 396])
def test_random_lines_are_counted_either_with_the_acs_or_beside_it(width: int, rate: int) -> None:
    acs = round(0.08 * width)
    for count in (round(width / rate) - acs, round((width - acs) / rate)):
        for seed in range(3):
            mask = drawn(width, acs, count, seed)
            assert mask.family == "random"
            found, why = acceleration(mask, [4, 8])
            assert found == rate
            assert why.endswith(f"nearest is X{rate}")


def test_what_says_the_anatomy(make_scan: Callable[..., Scan]) -> None:
    mask, blind = snu_mask(36, 4), TWO_BANKS.model_copy(update={"labels": False})
    scan = make_scan(cell=Cell("brain", 8))
    with pytest.raises(DataError, match=r"a: anatomy.*no classifier.*--anatomy brain or --anat"):
        experts(blind).route(scan, mask, CPU)
    with pytest.raises(DataError, match="no label"):
        experts(TWO_BANKS).route(make_scan(cell=None), mask, CPU)
    with pytest.raises(DataError, match=r"found 'hand'.*one of brain, knee"):
        experts(TWO_BANKS).route(make_scan(cell=Cell("hand", 4)), mask, CPU)
    told = experts(TWO_BANKS)
    told.anatomy = "knee"
    assert told.route(scan, mask, CPU).name == "special/knee-x4"
    # experts of one anatomy do not ask for it
    brain = Router(other={"brain-x4": "a", "brain-x8": "b"})
    assert experts(brain).route(make_scan(cell=None), mask, CPU) == ("a", "the public rule at X4")
    everything = Router(other={"any": "all"})
    assert experts(everything).route(make_scan(cell=None), mask, CPU).name == "all"


class Scores(nn.Module):
    """Two scores of a slice: the mean of the lower half of the image, twice that of the upper."""

    def __init__(self, settings: ResNetSettings) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = x.shape[-2] // 2
        halves = [x[:, 0, middle:].mean((1, 2)), x[:, 0, :middle].mean((1, 2))]
        return torch.stack(halves, 1) * self.weight


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dealias.inference.classifier.ResNet50", Scores)


def test_a_volume_is_classified_by_the_sum_of_its_slices_scores(
    scores: None, make_scan: Callable[..., Scan]
) -> None:
    scan = make_scan(cell=Cell("brain", 4))
    settings = ClassifierSettings(classes=("brain", "knee"))
    classifier = Classifier(settings)
    zero_filled_ZHW = reconstruct(load_model("zero-filled").reconstructor, scan).zero_filled_ZHW
    expected = np.stack([[i[16:].mean(), 2 * i[:16].mean()] / i.max() for i in zero_filled_ZHW])
    seen = measurements(scan, scan.mask, classifier.needs, CPU)  # type: ignore[arg-type]
    found = torch.cat([classifier(one) for _, one in seen]).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # one slice that is sure outweighs two that are not
    votes = iter([[0.0, 9.0], [1.0, 0.0], [1.0, 0.0]])
    classifier.network.forward = lambda x: torch.tensor([next(votes)])  # type: ignore[method-assign]
    assert classifier.decide(scan, scan.mask, CPU) == ("knee", "1 of 3 slices")  # type: ignore[arg-type]


def bundle(folder: Path, router: Router, classifier: Classifier | None) -> RoutedExperts:
    """A saved model, as a recipe's last stage leaves it."""
    network = experts(router, classifier)
    settings = ExpertsSettings(members=dict.fromkeys(network.routes, TINY))
    save_bundle(folder, network, settings, router=router)
    return network


def test_a_bundle_and_its_export_hold_router_and_classifier(
    scores: None, make_scan: Callable[..., Scan], tmp_path: Path
) -> None:
    classifier = Classifier(ClassifierSettings())
    save_classifier(tmp_path / "classifier.safetensors", classifier)
    again = load_classifier(tmp_path / "classifier.safetensors")
    router = TWO_BANKS.model_copy(update={"classifier": again.settings})
    bundle(tmp_path / "model", router, again)
    export_model(tmp_path / "model", tmp_path / "one.safetensors")
    scan = make_scan(cell=Cell("elbow", 4), mask=snu_mask(36, 4))
    images = []
    for path in (tmp_path / "model", tmp_path / "one.safetensors"):
        network = load_model(path).reconstructor
        assert isinstance(network, RoutedExperts)
        found = reconstruct(network, scan)
        # the label plays no part beside a classifier
        assert found.route is not None
        assert found.route.name in ("special/brain-x4", "special/knee-x4")
        assert "by the classifier, " in found.route.why
        images.append(found.image_ZHW.tobytes())
    assert images[0] == images[1]


def test_a_whole_set_says_where_each_volume_went(
    make_scan: Callable[..., Scan], tmp_path: Path
) -> None:
    bundle(tmp_path / "model", TWO_BANKS, None)
    rule = snu_mask(36, 4)
    odd = moved(rule, int(np.flatnonzero(rule.lines)[0]), 0)
    scans = [make_scan(name="a", cell=Cell("knee", 4), mask=rule),
             make_scan(name="b", cell=Cell("knee", 4), mask=odd)]  # fmt: skip
    model = load_model(tmp_path / "model")
    found = reconstruct_all(lambda scan: model, scans, tmp_path / "out")
    assert [one.route for one in found.volumes] == ["special/knee-x4", "robust/knee-x4"]
    assert "public rule" in str(found.to_json()["volumes"][0]["why"])
    lines = said(found, tmp_path, tmp_path).splitlines()
    assert any(line.startswith("robust/knee-x4: 1 volumes, such as b.h5: ") for line in lines)
    with h5py.File(tmp_path / "out" / "b.h5") as file:
        assert file.attrs["route"] == b"robust/knee-x4"


def test_anatomy_on_the_command_line(tmp_path: Path) -> None:
    bundle(tmp_path / "model", TWO_BANKS, None)
    model = load_model(tmp_path / "model")
    assert of_anatomy(model, "brain").reconstructor.anatomy == "brain"  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match=r"--anatomy: found 'brian'.*did you mean 'brain'"):
        of_anatomy(model, "brian")
    with pytest.raises(SettingsError, match="experts for anatomies"):
        of_anatomy(load_model("zero-filled"), "brain")


def test_the_published_experts_have_their_broker() -> None:
    names = [f"{team}-{cell}" for team in ("hacker", "helper") for cell in CELLS]
    found = broker(ExpertsSettings(members=dict.fromkeys(names, TINY)))
    assert found is not None
    assert found.snu_rule == {cell: f"hacker-{cell}" for cell in CELLS}
    assert found.other == {cell: f"helper-{cell}" for cell in CELLS}
    assert broker(TINY) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"other": {"brain-x4": "nobody"}}, "a router to 'nobody'"),
        ({"other": {"brain": "robust/brain-x4"}}, "a route 'brain'"),
        ({"other": {"any": "robust/brain-x4", "knee-x4": "robust/knee-x4"}}, "a route 'any'"),
        ({"other": {}}, r"router\.other"),
        ({"_target_": "os.system"}, "_target_"),
        ({"classifier": {"classes": ["brain", "../knee"]}}, r"router\.classifier\.classes"),
    ],
)
def test_routers_that_do_not_add_up(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    bundle(tmp_path / "model", TWO_BANKS, None)
    file = tmp_path / "model" / "main.safetensors"
    tensors, header = read_safetensors(file)
    header["router"] = {**json.loads(TWO_BANKS.model_dump_json()), **change}
    write_safetensors(file, tensors, header)
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / "model")
