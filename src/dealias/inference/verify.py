"""What is checked before a model file is believed, and the network rebuilt from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from dealias.errors import CheckpointError, SettingsError
from dealias.models.network import Network, NetworkEntry, NetworkSettings
from dealias.table import Table

SCHEMA = 1
"""Version of the model file's header; a file with a newer one is refused."""
_SHOWN = 4
Module = TypeVar("Module", bound=nn.Module)


def check_schema(path: Path, header: Mapping[str, Any]) -> None:
    """Refuse files of other tools and of newer versions.

    Raises:
        CheckpointError: No schema, or a newer one.
    """
    schema = header.get("schema")
    if type(schema) is not int or schema < 1:
        raise CheckpointError(path, "no dealias header", "a file that dealias wrote")
    if schema > SCHEMA:
        version = header.get("dealias_version", "a newer version")
        raise CheckpointError(
            path,
            f"schema {schema}, made by dealias {version}",
            f"schema {SCHEMA} at most",
            "upgrade dealias",
        )


def rebuild(
    path: Path,
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    networks: Table[NetworkEntry],
) -> Network:
    """The network a header describes, with the weights of the file.

    Args:
        path: The file, for messages.
        header: With "network" and "config".
        tensors: Its weights.
        networks: The networks it may name.

    Returns:
        The network on the CPU; its weights are bit-equal to the file's.

    Raises:
        CheckpointError: Unknown network, settings that are refused, or weights that are missing,
            superfluous, of another shape or type, or not finite.
    """
    entry, settings = _described(path, header, networks)
    return filled(path, tensors, lambda: _built(path, entry, settings))


def filled(path: Path, tensors: Mapping[str, Tensor], build: Callable[[], Module]) -> Module:
    """A module with the weights of a file.

    Args:
        path: The file, for messages.
        tensors: Its weights.
        build: Makes the module, with any weights.

    Raises:
        CheckpointError: Weights that are missing, superfluous, of another shape or type, or not
            finite.
    """
    with torch.device("meta"):  # costs no memory, whatever sizes the settings claim
        _compare(path, tensors, build().state_dict())
    _finite(path, tensors)
    with torch.random.fork_rng(devices=[]):
        module = build()
    module.load_state_dict(tensors, strict=True)
    return module


def _described(
    path: Path, header: Mapping[str, Any], networks: Table[NetworkEntry]
) -> tuple[NetworkEntry, NetworkSettings]:
    if "classifier" in header and "network" not in header:
        do = "bundle.anatomy of a recipe takes it"
        raise CheckpointError(path, "a classifier of anatomies", "a network that reconstructs", do)
    name, config = header.get("network"), header.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        raise CheckpointError(path, "a header without network and config", "a dealias model")
    try:
        entry = networks[name]
        return entry, entry.settings.model_validate(config)
    except SettingsError as error:
        known = ", ".join(networks.names)
        raise CheckpointError(path, f"network '{name}'", f"one of {known}", error.args[3]) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise CheckpointError(path, f"config '{key}': {first['msg']}") from None


def _built(path: Path, entry: NetworkEntry, settings: NetworkSettings) -> Network:
    try:
        return entry.build(settings)
    except SettingsError as error:  # members of a mixture that do not go together
        raise CheckpointError(path, f"config: {error}") from None


def _compare(path: Path, have: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> None:
    missing, extra = sorted(want.keys() - have.keys()), sorted(have.keys() - want.keys())
    if missing or extra:
        said = [_listed("missing", missing), _listed("unknown", extra)]
        raise CheckpointError(
            path,
            "; ".join(part for part in said if part),
            f"the {len(want)} tensors of its network",
        )
    for name, tensor in want.items():
        if have[name].shape != tensor.shape or have[name].dtype != tensor.dtype:
            raise CheckpointError(path, f"'{name}' is {_kind(have[name])}", _kind(tensor))


def _finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in sorted(tensors.items()):
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                path, f"NaN or infinity in '{name}'", "finite weights", "use an earlier checkpoint"
            )


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return f"{what}: {', '.join(names[:_SHOWN])}{rest}"


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
