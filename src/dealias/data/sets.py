"""Which set of a data set a file belongs to, as its folders tell."""

from __future__ import annotations

from pathlib import Path

_TRAINING = {"train", "multicoil_train"}
_VALIDATION = {"val", "multicoil_val"}
_TEST = {"leaderboard", "test", "multicoil_test", "multicoil_challenge"}


def set_of(file: Path) -> str | None:
    """The nearest folder that names a set; those above may be anything, such as /home/train."""
    names = (folder.name for folder in file.absolute().parents)
    return next((name for name in names if name in _TRAINING | _VALIDATION | _TEST), None)


def trained_on(file: Path) -> bool:
    """Whether a file lies in the training set."""
    return set_of(file) in _TRAINING


def validated_on(file: Path) -> bool:
    """Whether a file lies in the validation set."""
    return set_of(file) in _VALIDATION
