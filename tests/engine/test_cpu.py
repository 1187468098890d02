"""A process that computes on a CPU keeps its memory and has the right instructions."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dealias.engine.cpu import INSTRUCTIONS, best_instructions, prepare_inference

ZEN_4 = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nflags\t\t: fpu avx2 avx512f\n"
MIB = 2**20
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (("", ""), "AVX2"),
        (("AuthenticAMD", "GenuineIntel"), None),
        ((": 25", ": 26"), None),  # Zen 5 has 512 bits at once
        ((" avx512f", ""), None),  # Zen 3
        ((ZEN_4, ""), None),
    ],
    ids=["Zen 4", "Intel", "Zen 5", "Zen 3", "unknown"],
)
def test_zen_4_is_held_to_avx2(change: tuple[str, str], wanted: str | None) -> None:
    assert best_instructions(ZEN_4.replace(*change)) == wanted


@pytest.mark.parametrize("chosen", [INSTRUCTIONS, "DNNL_MAX_CPU_ISA"])
def test_the_users_choice_stands(monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    monkeypatch.setattr("dealias.engine.cpu._about_cpu", lambda: ZEN_4)
    monkeypatch.setenv(INSTRUCTIONS, "")  # so that it is put back
    monkeypatch.delenv(INSTRUCTIONS)
    monkeypatch.setenv(chosen, "AVX512_CORE")
    prepare_inference()
    assert os.environ.get(INSTRUCTIONS, "AVX512_CORE") == "AVX512_CORE"


FAULTS = f"""
import resource, torch
from dealias.engine.cpu import prepare_cpu
if {{prepared}}:
    prepare_cpu()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones({64 * MIB // 4}).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(20)][-1])
"""


def faults(prepared: bool, **environment: str) -> int:
    """Page faults of 64 MiB that are asked for again and again."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(prepared=prepared)], env={**os.environ, **environment},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's: run it on Linux")
def test_freed_memory_is_used_again() -> None:
    fresh = faults(False)
    assert faults(True) < fresh / 4
    assert faults(True, MALLOC_TRIM_THRESHOLD_="131072") > fresh / 2
