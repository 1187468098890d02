"""Pickled checkpoints of strangers: nothing in them runs, nothing in them blows up."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.errors import CheckpointError
from dealias.io.pickled import read_pickle_weights


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def rezip(source: Path, target: Path, compression: int, extra: int = 0) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item), compression)
        if extra:
            new.writestr("archive/data/bomb", bytes(extra), zipfile.ZIP_DEFLATED)


def test_the_payload_would_run_where_pickle_is_trusted(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


def test_an_os_system_payload_does_not_run_in_any_container(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    evil = {"model": {"w": torch.ones(2)}, "args": Payload(canary)}
    torch.save(evil, tmp_path / "zip.pt")
    torch.save(evil, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    with tarfile.open(tmp_path / "tar.pt", "w") as archive:
        content = pickle.dumps(evil["args"])
        member = tarfile.TarInfo("pickle")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(evil["args"]))
    for name in ("zip.pt", "legacy.pt", "tar.pt", "raw.pt"):
        with pytest.raises(CheckpointError, match=name):
            read_pickle_weights(tmp_path / name)
    with pytest.raises(CheckpointError, match="found code: .*system"):
        read_pickle_weights(tmp_path / "zip.pt")
    assert not canary.exists()


def test_a_challenge_checkpoint_with_namespace_and_paths_is_read(tmp_path: Path) -> None:
    saved = {
        "epoch": 3,
        "args": argparse.Namespace(cascade=1, exp_dir=Path("/scans/result"), chans=[9, 18]),
        "model": {"cascades.0.dc_weight": torch.tensor([0.25])},
        "best_val_loss": torch.tensor(0.1),
        "exp_dir": Path("/scans/result"),
    }
    torch.save(saved, tmp_path / "model.pt")
    got = read_pickle_weights(tmp_path / "model.pt")
    assert got["args"] == {"cascade": 1, "exp_dir": "/scans/result", "chans": [9, 18]}
    assert got["exp_dir"] == "/scans/result"
    assert torch.equal(got["model"]["cascades.0.dc_weight"], torch.tensor([0.25]))


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1 << 20)}, tmp_path / "a.pt")
    rezip(tmp_path / "a.pt", tmp_path / "deflated.pt", zipfile.ZIP_DEFLATED)
    rezip(tmp_path / "a.pt", tmp_path / "hidden.pt", zipfile.ZIP_STORED, extra=1 << 24)
    for name in ("deflated.pt", "hidden.pt"):
        with pytest.raises(CheckpointError, match="compressed member"):
            read_pickle_weights(tmp_path / name)


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """Two entries of the directory that point at one stored megabyte."""
    path = tmp_path / "a.pt"
    torch.save({"w": torch.zeros(1 << 18)}, path)
    archive = zipfile.ZipFile(path, "a")
    largest = max(archive.infolist(), key=lambda item: item.file_size)
    archive.filelist += [largest] * 3
    archive._didModify = True  # type: ignore[attr-defined]
    archive.close()
    with pytest.raises(CheckpointError, match="no more than the file itself"):
        read_pickle_weights(path)


def test_a_flipped_byte_in_a_tensor_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"w": torch.full((1000,), 1.5)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\x00\x00\xc0\x3f" * 100) + 200] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        read_pickle_weights(path)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("weights")
    (tmp_path / "empty.pt").touch()
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a/b.txt", "hello")
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    torch.save(cyclic, tmp_path / "cyclic.pt")
    for name in ("list.pt", "text.pt", "empty.pt", "photos.zip", "cyclic.pt", "missing.pt"):
        with pytest.raises(CheckpointError, match=name):
            read_pickle_weights(tmp_path / name)


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.99])
def test_truncated(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.pt"
    torch.save({"w": torch.ones(100)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(CheckpointError):
        read_pickle_weights(path)
