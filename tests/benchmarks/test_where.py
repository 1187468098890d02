"""A card held to less than it has."""

from __future__ import annotations

import argparse
import sys
from types import SimpleNamespace

import pytest
import torch

import where
from dealias.errors import SettingsError
from dealias.runs.footprint import CONTEXT

GIB = 2**30


@pytest.mark.parametrize("total", [12 * GIB, 80 * GIB, 85_017_493_504])
def test_tensors_have_what_the_smaller_card_leaves_them(total: int) -> None:
    assert abs(where.share(total, 8 * GIB) * total - (8 * GIB - CONTEXT)) < 1


def test_a_card_that_is_smaller_is_used_whole() -> None:
    assert where.share(6 * GIB, 8 * GIB) == 1.0


@pytest.mark.parametrize("cap", [1, CONTEXT])
def test_a_cap_that_leaves_nothing_is_refused(cap: int) -> None:
    with pytest.raises(SettingsError, match="expected more than the 512 MiB"):
        where.share(8 * GIB, cap)


def test_torch_is_told_the_share_of_the_whole_card(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    card = SimpleNamespace(total_memory=80 * GIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *a: told.append(a))
    where.hold(torch.device("cuda"), 8 * GIB)
    assert told == [(7.5 / 80, torch.device("cuda"))]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--cap 8GiB", "--cap: found --device cpu; expected a GPU"),
        ("--device tpu", "--device: found 'tpu'"),
        ("--device cuda", "--device: found 0 CUDA devices"),
    ],
)
def test_what_cannot_be_is_one_line(
    typed: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "cuda" in typed and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    parser = argparse.ArgumentParser(prog="bench")
    where.device_options(parser)
    monkeypatch.setattr(sys, "argv", ["bench", *typed.split()])
    with pytest.raises(SystemExit) as stop:
        where.started(parser)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_float32_is_float32_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    parser = argparse.ArgumentParser()
    where.device_options(parser)
    monkeypatch.setattr(sys, "argv", ["bench"])
    _, device = where.started(parser)
    assert device.type == "cpu"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
