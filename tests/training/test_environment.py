"""What a checkpoint remembers of where it was made, and what a resumed run says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch

from dealias.engine.precision import allow_tf32
from dealias.training.loop import TrainingJob, environment, train

Make = Callable[..., TrainingJob]
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def tf32_as_before() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_tf32_is_recorded_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "a card")
    for allowed in (True, False):
        allow_tf32(allowed)
        assert environment(CUDA)["tf32"] is allowed
    assert "tf32" not in environment(torch.device("cpu"))


def test_training_follows_its_setting_and_says_on_resume_if_it_changed(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_on_a_gpu(device: torch.device, ranks: int = 1) -> dict[str, object]:
        return {"tf32": torch.backends.cudnn.allow_tf32}

    monkeypatch.setattr("dealias.training.loop.environment", as_on_a_gpu)
    said: list[str] = []
    for epochs, allowed in ((1, True), (2, True), (3, False)):
        job = make_job("run", epochs=epochs, tf32=allowed)
        train(dataclasses.replace(job, warn=said.append))
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
    assert said == ["tf32 is False and was True: the last bits may differ"]
