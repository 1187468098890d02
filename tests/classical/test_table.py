"""Classical methods by name and settings."""

from __future__ import annotations

import pytest

from dealias.classical.iterative import CgSense, ZeroFilled
from dealias.classical.table import METHODS, build_method, is_method
from dealias.errors import SettingsError


def test_names_and_settings() -> None:
    assert METHODS.names == [
        "zero-filled",
        "cg-sense",
        "l1-wavelet",
        "total-variation",
        "grappa",
    ]
    assert build_method("zero-filled") == ZeroFilled()
    assert build_method("cg-sense") == CgSense()
    assert build_method("cg-sense:regularisation=0.5, iterations=7") == CgSense(0.5, 7)
    assert build_method("cg-sense:regularisation=1e-3") == CgSense(regularisation=0.001)


def test_every_setting_of_the_table_is_one_the_method_takes() -> None:
    for method in METHODS:
        made = method.build()
        assert all(hasattr(made, key) for key in method.settings)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cg-sense:regularization=1", "did you mean 'regularisation'"),
        ("cg-sense:iterations=0", "iterations"),
        ("cg-sense:iterations=2.5", "iterations"),
        ("cg-sense:regularisation=-1", "regularisation"),
        ("cg-sense:regularisation=nan", "regularisation"),
        ("cg-sense:fast", "key=value"),
        ("zero-filled:iterations=3", "no settings at all"),
        ("cg-sens", "did you mean 'cg-sense'"),
    ],
)
def test_mistakes_name_the_key(spec: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        build_method(spec)


def test_a_path_is_no_method() -> None:
    assert is_method("cg-sense:iterations=3")
    assert not is_method("runs/cg-sense")
