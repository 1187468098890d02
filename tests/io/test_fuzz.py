"""A hundred damaged files: each is read to its end or refused; nothing crashes, nothing hangs."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from dealias.data.inspect import check_file

FILES = 100


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Files of the two layouts, small."""
    folder = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(0)
    kspace = rng.standard_normal((2, 2, 16, 12)).astype(np.complex64)
    with h5py.File(folder / "snu.h5", "w") as file:
        file["kspace"], file["mask"] = kspace, np.ones(12, np.float32)
        file.attrs["anatomy"] = np.bytes_("brain")
    with h5py.File(folder / "fastmri.h5", "w") as file:
        file.create_dataset("kspace", data=kspace, chunks=(1, 2, 16, 12), compression="gzip")
        file["reconstruction_rss"] = np.ones((2, 12, 12), np.float32)
        file.attrs["max"], file.attrs["acquisition"] = 1.0, "AXT2"
    return (folder / "snu.h5").read_bytes(), (folder / "fastmri.h5").read_bytes()


def damaged(data: bytes, seed: int) -> bytes:
    """Flipped bits in the first 4 KiB (where the structure is), a block overwritten, or a cut."""
    rng = np.random.default_rng([430, seed])
    values = np.frombuffer(data, np.uint8).copy()
    kind = seed % 3
    if kind == 0:
        where = rng.integers(0, min(4096, values.size), rng.integers(1, 9))
        values[where] ^= (1 << rng.integers(0, 8, where.size)).astype(np.uint8)
    elif kind == 1:
        start = int(rng.integers(0, values.size - 32))
        values[start : start + 32] = rng.integers(0, 256, 32)
    else:
        values = values[: int(rng.integers(1, values.size))]
    return values.tobytes()


def test_a_hundred_damaged_files(sound: tuple[bytes, bytes], tmp_path: Path) -> None:
    paths = []
    for seed in range(FILES):
        paths.append(tmp_path / f"{seed:03d}.h5")
        paths[-1].write_bytes(damaged(sound[seed % 2], seed))
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        futures = [pool.submit(check_file, path) for path in paths]
        checked = [future.result(timeout=60) for future in futures]  # a crash breaks the pool
    refused = [one for one in checked if one.id is None]
    assert all(one.findings[0].level == "FAIL" for one in refused)
    assert all(one.findings for one in checked)
    assert 20 < len(refused) < FILES  # the damage is neither harmless nor always fatal
