"""Models on disk and by name: one way to save them, one way to load them.

A model file is a safetensors file whose header says which network it is. A bundle is the folder
bundle.json, *.safetensors, card.md, which is all that a colleague needs. Nothing in either is ever
imported or executed: a network's name is looked up in a table, its settings are judged by a schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

import torch
from torch import Tensor

import dealias
from dealias.atomic import write_bytes
from dealias.classical.table import build_method, is_method
from dealias.errors import CheckpointError
from dealias.inference.card import model_card
from dealias.inference.locate import WEIGHTS, model_file, write_manifest
from dealias.inference.routing import PREFIX, Router, routed
from dealias.inference.verify import SCHEMA, check_schema, rebuild
from dealias.io.weights import Json, read_safetensors, write_safetensors
from dealias.models.network import Network, NetworkEntry, NetworkSettings
from dealias.models.table import NETWORKS
from dealias.scan.measurement import Reconstructor
from dealias.scan.profile import Profile
from dealias.table import Table


@dataclass(frozen=True)
class Model:
    """Something that reconstructs, with what is known of it.

    Attributes:
        reconstructor: A network in eval mode on the device asked for, or a classical method.
        name: The network's or method's name.
        header: The model file's header; empty for classical methods.
        profile: What it was trained on, or None.
    """

    reconstructor: Reconstructor
    name: str
    header: Json
    profile: Profile | None = None


class About(TypedDict, total=False):
    """What a model file may tell beside its network; None is the same as nothing.

    Attributes:
        profile: What it was trained on.
        protocol: The scoring protocol it was chosen by.
        licence: The licence of the weights.
        weights: Weights to write in place of the network's own (an average of them).
        provenance: Of weights that were published elsewhere: kind, project, sha256 of their file.
        router: Of experts: which scan is whose.
        trained_on_validation: Whether no score can be told, as nothing was left to validate on.
    """

    profile: Profile | None
    protocol: str | None
    licence: str | None
    weights: dict[str, Tensor] | None
    provenance: Json | None
    router: Router | None
    trained_on_validation: bool


def save_model(
    path: Path, network: Network, settings: NetworkSettings, **about: Unpack[About]
) -> Json:
    """Write a model file.

    Args:
        path: The .safetensors file; replaced if it exists.
        network: The network.
        settings: Its settings, with a `name`.
        **about: See `About`.

    Returns:
        The header that was written; it holds no path, host or user.

    Raises:
        DiskError: It cannot be written.
    """
    profile, router = about.get("profile"), about.get("router")
    header: Json = {
        "dealias_version": dealias.__version__,
        "schema": SCHEMA,
        "network": getattr(settings, "name"),  # noqa: B009  each settings class has a literal name
        "config": settings.model_dump(mode="json"),
        "profile": profile.model_dump(mode="json") if profile else None,
        "protocol": about.get("protocol"),
        "licence": about.get("licence"),
    }
    if about.get("provenance") is not None:
        header["provenance"] = about["provenance"]
    if router is not None:
        header["router"] = router.model_dump(mode="json")
    if about.get("trained_on_validation"):
        header["trained_on_validation"] = True
    weights = about.get("weights")
    write_safetensors(path, network.state_dict() if weights is None else weights, header)
    return header


def save_bundle(
    folder: Path, network: Network, settings: NetworkSettings, **about: Unpack[About]
) -> None:
    """Write a bundle folder; arguments as in `save_model`. Each file is replaced atomically."""
    header = save_model(folder / WEIGHTS, network, settings, **about)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    write_bytes(folder / "card.md", model_card(header, parameters).encode())
    write_manifest(folder)


def load_model(
    spec: str | Path,
    device: torch.device | None = None,
    networks: Table[NetworkEntry] = NETWORKS,
) -> Model:
    """Load whatever stands where a model stands.

    Args:
        spec: A run folder, a bundle folder, a .safetensors file, or a classical method's name,
            perhaps with settings ("cg-sense:regularisation=0.01").
        device: Where the network shall be; the CPU if None.
        networks: The networks a file may name.

    Returns:
        The model, ready to reconstruct.

    Raises:
        CheckpointError: The file is refused; the message says why.
        SettingsError: There is neither such a path nor such a method.
    """
    text, path = str(spec), Path(spec)
    if is_method(text) and not path.exists():
        return Model(build_method(text), text.partition(":")[0], {})
    file = model_file(path)
    tensors, header = read_safetensors(file)
    check_schema(file, header)
    network = _rebuilt(file, header, tensors, networks)
    network.to(device or torch.device("cpu")).eval()
    return Model(network, str(header["network"]), header, _profile(file, header))


def _rebuilt(
    file: Path, header: Json, tensors: dict[str, Tensor], networks: Table[NetworkEntry]
) -> Network:
    """The network, with the router of its file where there is one."""
    settings = header.get("router")
    if settings is None:
        return rebuild(file, header, tensors, networks)
    classifier = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in tensors.items()
        if name.startswith(PREFIX)
    }
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
    return routed(file, rebuild(file, header, own, networks), settings, classifier)


def _profile(file: Path, header: Json) -> Profile | None:
    if header.get("profile") is None:
        return None
    try:
        return Profile.model_validate(header["profile"])
    except ValueError as error:
        raise CheckpointError(file, "a training profile that cannot be read") from error
