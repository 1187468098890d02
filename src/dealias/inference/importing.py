"""Weights that other projects published, as a model of ours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from pydantic import ValidationError
from torch import Tensor

from dealias.atomic import write_json
from dealias.errors import CheckpointError, SettingsError, UserError
from dealias.inference.bundle import save_bundle
from dealias.inference.locate import MANIFEST
from dealias.inference.routing import Router
from dealias.inference.verify import rebuild
from dealias.io.pickled import read_pickle_weights
from dealias.io.weights import Json, read_safetensors
from dealias.models.mixture import ExpertsSettings
from dealias.models.network import NetworkSettings
from dealias.models.published.smartify_experts import TEAMS
from dealias.models.published.source import Published
from dealias.models.published.table import PUBLISHED
from dealias.models.table import NETWORKS

PLACES = ("state_dict", "model", "model_state_dict")
"""Where checkpoints keep weights, if not at the top: Lightning's, the challenge's, others'."""
SAID = ("hyper_parameters", "args")
"""Where they keep what the network was made with."""
RECORD = "import.json"


@dataclass(frozen=True)
class Imported:
    """What was made of a file.

    Attributes:
        kind: Of published weights.
        settings: Our network's.
        parameters: How many numbers its weights are.
        dropped: Keys of the file that are not needed here.
        cast: Keys whose numbers were no float32.
    """

    kind: Published
    settings: NetworkSettings
    parameters: int
    dropped: tuple[str, ...]
    cast: tuple[str, ...]


def import_model(
    file: Path,
    out: Path,
    kind: str | None = None,
    changes: Sequence[str] = (),
    overwrite: bool = False,
) -> Imported:
    """Convert a file of published weights to a model folder.

    The folder's import.json says of each key of the file what became of it. Readout crop is off, as
    it was when the weights were trained.

    Args:
        file: A .pt, .pth or .ckpt that torch wrote, or .safetensors.
        out: The folder.
        kind: Name of the kind of weights, where keys and shapes alone do not tell.
        changes: "network.KEY=VALUE", for what weights cannot tell (a gate without parameters).
        overwrite: Replace a model that is there.

    Returns:
        What was found.

    Raises:
        CheckpointError: The file is refused, is of no known kind, or lacks what its network needs.
        SettingsError: There is a model already, or several kinds fit.
        DiskError: It cannot be written.
    """
    refuse_model_there(out, overwrite)
    state, said = read_weights(file)
    found, state = recognise(file, state, said, kind)
    settings = changed(found.settings({key: one.shape for key, one in state.items()}), changes)
    weights, cast = _single(file, found.convert(state))
    names = {key: found.rename(key) for key in state}
    config = {"network": getattr(settings, "name"), "config": settings.model_dump(mode="json")}  # noqa: B009
    network = rebuild(file, config, weights, NETWORKS)
    provenance: Json = {
        "kind": found.name, "project": found.project,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }  # fmt: skip
    save_bundle(
        out, network, settings, licence=found.licence, provenance=provenance,
        router=broker(settings),
    )  # fmt: skip
    dropped = tuple(key for key, name in names.items() if name is None)
    record = {**provenance, "licence": found.licence, "names": names, "cast": cast}
    write_json(out / RECORD, record)
    parameters = sum(one.numel() for one in network.parameters())
    return Imported(found, settings, parameters, dropped, cast)


def refuse_model_there(out: Path, overwrite: bool) -> None:
    """A model is replaced only where that was asked for.

    Raises:
        SettingsError: It was not.
    """
    if (out / MANIFEST).exists() and not overwrite:
        raise SettingsError("--out", f"{out} exists", "a new folder", "add --overwrite")


def broker(settings: NetworkSettings) -> Router | None:
    """How sMaRtIfy's Broker sends scans to its experts; None for any other network.

    Their classifier is a file of its own (`inference.importing_classifier`), so that --anatomy is
    asked for.
    """
    if not isinstance(settings, ExpertsSettings):
        return None
    rule, other = (
        {one.removeprefix(f"{team}-"): one for one in settings.members if one.startswith(team)}
        for team in TEAMS
    )
    return Router(snu_rule=rule, other=other)


def read_weights(file: Path) -> tuple[dict[str, Tensor], Json]:
    """The weights in a file, and what it says of the network beside them.

    Raises:
        CheckpointError: It holds none, or is refused.
    """
    if file.suffix == ".safetensors":
        return read_safetensors(file)[0], {}
    content = read_pickle_weights(file)
    places = [content, *(content[name] for name in PLACES if isinstance(content.get(name), dict))]
    for place in reversed(places):
        tensors = {str(key): one for key, one in place.items() if isinstance(one, Tensor)}
        if len(tensors) == len(place) > 0:
            said = (content[name] for name in SAID if isinstance(content.get(name), dict))
            return tensors, {str(key): one for part in said for key, one in part.items()}
    keys = ", ".join(map(str, list(content)[:9]))
    raise CheckpointError(file, f"no weights under {keys}", f"tensors, or {', '.join(PLACES)}")


def changed(settings: NetworkSettings, changes: Sequence[str]) -> NetworkSettings:
    """Settings with some of them set otherwise.

    Args:
        settings: What the weights' shapes tell.
        changes: "network.KEY=VALUE", values in YAML's spelling.

    Raises:
        SettingsError: A key or value that the network has not.
    """
    values = settings.model_dump(mode="json")
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key.startswith("network."):
            raise SettingsError(f"'{change}'", "no network.KEY=VALUE", "network.KEY=VALUE")
        try:
            values[key.removeprefix("network.")] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SettingsError(key, f"'{value}'", "a value in YAML's spelling") from None
    try:
        return type(settings).model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("network", *map(str, first["loc"])))
        raise SettingsError(key, repr(first["input"]), first["msg"]) from None


def recognise(
    file: Path, state: Mapping[str, Tensor], said: Json, kind: str | None
) -> tuple[Published, dict[str, Tensor]]:
    """The kind of weights, and they without the prefix of their keys.

    Raises:
        CheckpointError: No kind has such keys, or the one asked for has not.
        SettingsError: Several have.
    """
    asked = PUBLISHED[kind] if kind else None
    alike = [(one, plain) for one in PUBLISHED for plain in _without_prefix(one, state)]
    if asked is not None:
        alike = [(one, plain) for one, plain in alike if one is asked]
    if not alike:
        expected = f"keys of {asked.name}" if asked else f"one of {', '.join(PUBLISHED.names)}"
        raise CheckpointError(file, f"keys such as {', '.join(list(state)[:3])}", expected)
    fitting = alike if len(alike) == 1 else [pair for pair in alike if _fits(*pair, said)]
    told = [(one, plain) for one, plain in fitting if one.said]
    if len(fitting) > 1 and said and len(told) == 1:
        fitting = told
    if len(fitting) != 1:
        names = " or ".join(one.name for one, _ in fitting or alike)
        raise SettingsError(file, f"weights of {names}", "one kind", "say which with --as")
    return fitting[0]


def _without_prefix(kind: Published, state: Mapping[str, Tensor]) -> Iterable[dict[str, Tensor]]:
    """The weights with one prefix less, if they are of a kind then."""
    for prefix in ("", *kind.prefixes):
        plain = {key.removeprefix(prefix): one for key, one in state.items()}
        if all(any(re.fullmatch(one, key) for key in plain) for one in kind.signature):
            yield plain
            return


def _fits(kind: Published, state: Mapping[str, Tensor], said: Json) -> bool:
    """Whether a kind's network has these shapes, and the file says nothing else of it."""
    if any(said.get(key, value) != value for key, value in kind.said.items()):
        return False
    try:
        settings = kind.settings({key: one.shape for key, one in state.items()})
        wanted = _shapes(settings)
        found = {key: one.shape for key, one in kind.convert(state).items()}
    except (UserError, ValueError, KeyError, IndexError):
        return False
    return found == wanted


def _shapes(settings: NetworkSettings) -> dict[str, torch.Size]:
    with torch.device("meta"):
        network = NETWORKS[getattr(settings, "name")].build(settings)  # noqa: B009
    return {key: one.shape for key, one in network.state_dict().items()}


def _single(file: Path, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Real numbers as float32, whole ones as they are; and the names of those that changed."""
    if strange := [name for name, one in weights.items() if one.is_complex()]:
        raise CheckpointError(file, f"complex numbers in '{strange[0]}'", "real weights")
    cast = [name for name, one in weights.items()
            if one.is_floating_point() and one.dtype != torch.float32]  # fmt: skip
    return {name: one.float() if name in cast else one for name, one in weights.items()}, (*cast,)
