"""Kernels are compiled where they can be, once, and never stand in the way where they cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dealias.cachefolder import cache_folder
from dealias.engine.machine import convolving
from dealias.kernels import build
from dealias.models.layers.convolution import Conv2d
from dealias.training.facts import environment

FLAGS = "fpu fma avx2 avx512f avx512dq avx512vl"
INTEL = f"vendor_id\t: GenuineIntel\ncpu family\t: 6\nflags\t\t: {FLAGS}\n"
pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def compiler(folder: Path, lines: str) -> str:
    """A script in place of a compiler."""
    path = folder / "some-cc"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return str(path)


def convolved() -> bool:
    """Whether a layer that suits gives what torch gives, to the last bit."""
    x = torch.randn(1, 16, 64, 64).contiguous(memory_format=torch.channels_last)
    layer = Conv2d(16, 16, 3, padding=1)
    return torch.equal(layer(x), torch.nn.Conv2d.forward(layer, x))


def test_without_a_compiler_torch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    build.use_kernels()
    assert build.trouble() == "no C compiler found (cc, gcc or clang)"
    assert convolving().startswith("torch's: no C compiler")
    assert environment(torch.device("cpu"))["kernels"] == "torch's"
    assert convolved()


def test_a_compiler_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = 'case $1 in --version) echo 1;; *) echo "x.c:1: error: no luck" >&2; exit 1;; esac'
    monkeypatch.setenv("CC", compiler(tmp_path, lines))
    build.use_kernels()
    assert build.trouble() == f"{tmp_path / 'some-cc'} failed: x.c:1: error: no luck"
    assert convolved()
    assert list(cache_folder().rglob("*.so")) == []


def test_what_cannot_be_loaded_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = 'for word; do [ "$last" = -o ] && echo no library > "$word"; last=$word; done'
    monkeypatch.setenv("CC", compiler(tmp_path, lines))
    build.use_kernels()
    assert build.trouble().startswith("they cannot be loaded: ")
    assert str(cache_folder() / "kernels" / "float-") in build.trouble()
    assert list(cache_folder().rglob("*.so")) == []
    assert build.version() == "torch"
    assert convolved()


def test_a_file_that_is_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some-cc"
    path.write_bytes(b"\x7fELF")
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    assert build.trouble().startswith("they cannot be compiled: ")
    assert str(path) in build.trouble()


def test_a_compiler_may_be_called_by_several_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ccache = compiler(tmp_path, 'echo called >> log; exec "$@"')
    monkeypatch.setenv("CC", f"{ccache} cc")
    monkeypatch.chdir(tmp_path)
    build.use_kernels()
    assert build.library(torch.float32) is not None, build.trouble()
    assert (tmp_path / "log").read_text() == "called\n" * 2  # for its version, and to compile


def test_a_cache_folder_that_is_none(own_folder: Path) -> None:
    own_folder.write_text("")
    build.use_kernels()
    assert str(own_folder) in build.trouble()
    assert convolved()


def test_an_old_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_about_cpu", lambda: "flags\t: fpu sse2\n")
    build.use_kernels()
    assert "AVX2" in build.trouble()
    assert convolved()


@pytest.mark.parametrize(
    ("change", "width"),
    [
        (("", ""), 64),
        (("GenuineIntel\ncpu family\t: 6", "AuthenticAMD\ncpu family\t: 25"), 32),  # Zen 4
        (("GenuineIntel\ncpu family\t: 6", "AuthenticAMD\ncpu family\t: 26"), 64),  # Zen 5
        ((" avx512f", ""), 32),
        ((" avx2 avx512f", ""), 0),
        ((INTEL, ""), 0),
    ],
    ids=["Intel", "Zen 4", "Zen 5", "AVX2", "old", "unknown"],
)
def test_width_of_vectors(
    monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], width: int
) -> None:
    monkeypatch.setattr(build, "_about_cpu", lambda: INTEL.replace(*change))
    assert build.simd() == width


@pytest.mark.usefixtures("kernels")
def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build.library(torch.float32) is not None
    (made,) = cache_folder().rglob(f"float-{build.simd()}-*.so")
    calls: list[Path] = []

    def compile_nothing(compiler: list[str], about: list[str], target: Path) -> None:
        calls.append(target)
        target.write_bytes(b"")

    monkeypatch.setattr(build, "_compile", compile_nothing)
    build._found.cache_clear()
    assert build.library(torch.float32) is not None
    assert calls == []
    # another processor that shares the folder has a file of its own
    monkeypatch.setattr(build, "_flags_of_cpu", lambda: "flags\t: others")
    assert build._compiled(["cc"], "float", build.simd()) != made
    assert len(calls) == 1


def test_whoever_does_not_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(build.CHOICE, "0")
    build.use_kernels()
    assert build.said() == "torch's"
    assert convolving() == "torch's: DEALIAS_KERNELS=0"
    assert convolved()


@pytest.mark.usefixtures("kernels")
def test_who_computes_is_written_down() -> None:
    assert environment(torch.device("cpu"))["kernels"] == f"dealias's, {8 * build.simd()}-bit"
    assert not convolved()  # by rounding
    build._asked.clear()
    assert environment(torch.device("cpu"))["kernels"] == "torch's"


def test_a_count_that_fails_changes_nothing() -> None:
    build.use_kernels()
    with pytest.raises(ValueError, match="halfway"), build.counted_for("cpu"):
        assert "meta" in build._asked
        raise ValueError("halfway")
    assert build._asked == {"cpu"}


@pytest.mark.usefixtures("kernels")
def test_two_processes_compile_at_once() -> None:
    code = (
        "import torch\nfrom dealias.kernels import build\n"
        "assert build.library(torch.float32) is not None, build.trouble()"
    )
    for path in cache_folder().rglob("*.so"):
        path.unlink()
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert len(list(cache_folder().rglob("*.so"))) == 1
    assert list(cache_folder().rglob(".partial*")) == []
