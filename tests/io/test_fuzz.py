"""A hundred damaged files: each is read to its end or refused; nothing crashes, nothing hangs."""

from __future__ import annotations

import importlib
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

from dealias.errors import DataError
from dealias.io.open import open_scan
from dealias.io.volume import Volume
from dealias.io.write_fastmri import write_fastmri
from dealias.io.write_snu import write_snu
from dealias.physics.sampling.snu import snu_mask

FILES = 100
SHAPE, TARGET_HW = (2, 3, 16, 20), (12, 12)
PATHS = ("kspace/a.h5", "image/a.h5", "fastmri.h5")
"""A pair of the SNU layout and a fastMRI file."""


@pytest.fixture
def sound(tmp_path: Path) -> list[bytes]:
    """The three files undamaged."""
    rng = np.random.default_rng(0)
    kspace = rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)
    images = rng.random((SHAPE[0], *TARGET_HW), dtype=np.float32)
    mask = snu_mask(SHAPE[-1], 4)
    volume = Volume("brain_acc4_1", kspace.astype(np.complex64), mask, True, "brain", 4,
                    images, images, attributes={"simulated": 1})  # fmt: skip
    written = (*write_snu(tmp_path, "train", volume), write_fastmri(tmp_path, "train", volume))
    return [path.read_bytes() for path in written]


def damaged(data: bytes, seed: int) -> bytes:
    """Flipped bits, bytes overwritten near the structure, a block overwritten, or a cut."""
    rng = np.random.default_rng([430, seed])
    values = np.frombuffer(data, np.uint8).copy()
    kind = rng.integers(4)
    count = int(rng.integers(1, 9))
    if kind == 0:
        values[rng.integers(0, values.size, count)] ^= np.uint8(1 << rng.integers(8))
    elif kind == 1:  # most of the structure lies at the front
        values[rng.integers(0, min(4096, values.size), count)] = rng.integers(256)
    elif kind == 2:
        start = int(rng.integers(values.size - 16))
        values[start : start + 2 * count] = rng.integers(0, 256, 2 * count)
    else:
        values = values[: int(rng.integers(1, values.size))]
    return values.tobytes()


def read_to_the_end(folder: Path) -> str:
    """What a child does with one seed's files: "read", the refusal, or whatever is raised."""
    pair, alone = [folder / path for path in PATHS[:2]], folder / PATHS[2]
    try:
        scan = open_scan(alone) if alone.exists() else open_scan(*pair)
        for z in range(scan.slices):
            scan.kspace(z)
            for kind in ("target", "input", "grappa"):
                scan.image(kind, z)  # type: ignore[arg-type]
    except DataError as error:
        return str(error)
    return "read"


def write(folder: Path, sound: list[bytes], seed: int) -> Path:
    """The files of one seed, of which one is damaged."""
    which = seed % len(PATHS)
    for index in (2,) if which == 2 else (0, 1):
        path = folder / PATHS[index]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(damaged(sound[index], seed) if index == which else sound[index])
    return folder


def answer(future: Future[str], seed: int) -> str:
    """What a child said of a seed; anything but an answer names the seed."""
    try:
        return future.result(timeout=60)
    except BrokenProcessPool:
        pytest.fail(f"seed {seed}, or the one before it, killed its process")
    except Exception as error:
        pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")


def test_a_hundred_damaged_files(
    sound: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # children import this module by a name that they can find
    monkeypatch.syspath_prepend(Path(__file__).parent)
    read = importlib.import_module("test_fuzz").read_to_the_end
    folders = [write(tmp_path / f"{seed:03d}", sound, seed) for seed in range(FILES)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        futures = [pool.submit(read, folder) for folder in folders]
        said = [answer(future, seed) for seed, future in enumerate(futures)]
    refused = [text for text in said if text != "read"]
    # the damage is neither harmless nor always fatal
    assert FILES / 4 < len(refused) < FILES * 0.9
    for folder, text in zip(folders, said, strict=True):
        assert text == "read" or (text.startswith(str(folder)) and "\n" not in text), text
