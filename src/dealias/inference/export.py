"""A trained network as one file."""

from __future__ import annotations

from pathlib import Path

from dealias.errors import SettingsError
from dealias.inference.bundle import load_model
from dealias.io.weights import Json, write_safetensors
from dealias.models.network import Network, NetworkEntry
from dealias.models.table import NETWORKS
from dealias.table import Table


def export_model(
    source: Path, out: Path, overwrite: bool = False, networks: Table[NetworkEntry] = NETWORKS
) -> Json:
    """Write a run's or bundle's network as one model file, checked by loading it first.

    Args:
        source: A run folder, a bundle folder or a model file.
        out: The .safetensors file.
        overwrite: Replace it if it exists.
        networks: The networks it may be.

    Returns:
        The header.

    Raises:
        CheckpointError: There is no model, or it is refused.
        SettingsError: The output exists, or has another suffix.
        DiskError: It cannot be written.
    """
    if out.suffix != ".safetensors":
        raise SettingsError("--out", str(out), "a name that ends in .safetensors")
    if out.exists() and not overwrite:
        raise SettingsError("--out", f"{out} exists", "a new file", "add --overwrite")
    model = load_model(source, networks=networks)
    if not isinstance(model.reconstructor, Network):
        raise SettingsError(f"model '{source}'", "a classical method", "a trained network")
    write_safetensors(out, model.reconstructor.state_dict(), model.header)
    return model.header
