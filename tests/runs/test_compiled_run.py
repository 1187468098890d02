"""A run with training.compile: it says what it compiled, and learns as without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import SettingsError
from dealias.runs.train import Hooks, resume, start

CPU = torch.device("cpu")
SETTINGS = [
    "network.cascades=2", "network.channels=2", "network.pools=1", "network.sens_channels=2",
    "network.sens_pools=1", "network.readout_crop=0", "training.epochs=1", "training.workers=0",
    "training.threads=1", "memory.coils=null", "memory.cascades=recompute", "training.ema=null",
]  # fmt: skip


def weights(run: Path) -> dict[str, torch.Tensor]:
    (file,) = (run / "model").glob("*.safetensors")
    return load_file(file)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_it_says_what_it_compiled_and_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dealias.engine.compiled.BACKEND", "aot_eager")
    data = tmp_path / "set"
    simulate(
        SimulateSettings(subjects=3, slices=1, coils=3, size=(48, 40)), data, lambda done: None
    )
    said: list[str] = []
    hooks = replace(Hooks(), say=said.append, warn=said.append)
    start("varnet", data, tmp_path / "a", [*SETTINGS, "training.compile=true"], CPU, hooks)
    assert len(said) == 2  # the cascades' graph and the sensitivity network's
    assert all(one.startswith("compiled the denoiser for ") for one in said), said
    log = (tmp_path / "a" / "log.txt").read_text()
    assert all(text in log for text in said)
    start("varnet", data, tmp_path / "b", SETTINGS, CPU, Hooks())
    one, other = weights(tmp_path / "a"), weights(tmp_path / "b")
    # Adam's first step is the gradient's sign: where that is rounding alone, so is the step
    close = [torch.isclose(one[key], other[key], rtol=1e-3, atol=1e-6) for key in other]
    assert sum(int(part.sum()) for part in close) > 0.98 * sum(part.numel() for part in close)
    with pytest.raises(SettingsError, match=r"memory.cascades.*writes over"):
        resume(tmp_path / "a", None, ["memory.cascades=keep_convolutions"], CPU, Hooks())


def test_nothing_is_written_where_it_cannot_work(tmp_path: Path) -> None:
    changes = ["training.compile=true", "memory.cascades=keep_convolutions"]
    with pytest.raises(SettingsError, match=r"memory.cascades.*set memory.cascades=recompute"):
        start("varnet", tmp_path, tmp_path / "run", changes, CPU, Hooks())
    assert not (tmp_path / "run").exists()
