"""`dealias reconstruct`: images from undersampled k-space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from dealias.inference.bundle import Model
    from dealias.inference.run import RunSummary
    from dealias.physics.sampling.mask import SamplingMask
    from dealias.scan.scan import Scan


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("reconstruct", rich_help_panel="Work")(reconstruct)


def reconstruct(
    model: Annotated[
        str,
        typer.Argument(
            help="A run, a model folder, a .safetensors file, or a classical method: "
            "zero-filled, grappa, cg-sense, l1-wavelet, total-variation, or with settings, "
            "cg-sense:regularisation=0.01,iterations=20."
        ),
    ],
    data: Annotated[Path, typer.Argument(help="A file, a folder, or a whole data set.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    mask: Annotated[
        str | None,
        typer.Option(
            help="Undersample fully sampled data: snu:4 (the challenge's rule), equispaced:8 or "
            "another family, or a file that holds a mask (.npy, or .h5 with `mask`)."
        ),
    ] = None,
    tune: Annotated[
        Path | None,
        typer.Option(
            help="Choose a classical method's settings on these data, for each acceleration."
        ),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="By which --tune chooses; best the one that you report.")
    ] = "snu2025",
    anatomy: Annotated[
        str | None,
        typer.Option(help="Of all the data, where a model's experts differ in it: brain, knee."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; else chosen.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Slices worked on at once.")] = 1,
    flips: Annotated[
        str | None,
        typer.Option(
            help="Average the images of flipped measurements too, exactly flipped and one pass "
            "each: readout, phase, both, or several, readout,phase,both. A flip along phase encode "
            "flips the mask: most lattices get another offset, which the network may not know."
        ),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(
            help="Warn early if it will take longer, such as 1h or 50m; --flips are left out, "
            "of whole volumes, where they would not leave time for the others."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    json: Annotated[Path | None, typer.Option(help="Also write the summary here.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Reconstruct every slice; one HDF5 file a volume, dataset `reconstruction`.

    File and folder names play no part in the images; the output mirrors the input's sub-folders.

    Example: dealias reconstruct runs/a data/leaderboard --out recon

    Example: dealias reconstruct runs/a data/leaderboard --out recon --flips readout --time-limit 1h
    """
    from dealias.atomic import write_json
    from dealias.cli.progress import bar, warn
    from dealias.data.catalogue import open_data
    from dealias.engine.cpu import prepare_inference
    from dealias.engine.joining import joined
    from dealias.inference.budget import seconds
    from dealias.inference.bundle import load_model
    from dealias.inference.flips import flips_of
    from dealias.inference.run import reconstruct_all, share

    limit = seconds(time_limit) if time_limit else None
    chosen, turned = mask_rule(mask), flips_of(flips)
    with joined(device) as (ranks, where):
        if where.type == "cpu":
            prepare_inference()
        quiet = quiet or not ranks.first
        say: Callable[[str], None] = typer.echo if ranks.first else lambda text: None
        # whatever may be missing is said before the long work begins
        if tune is None:
            model_of, scans = always(of_anatomy(load_model(model, where), anatomy)), open_data(data)
        else:
            scans = open_data(data)
            model_of = tuned(model, open_data(tune), chosen, protocol, where, quiet, say)
        mine = sum(scans[index].slices for index in share(scans, ranks))
        with bar("reconstruct", mine, quiet) as advance:
            summary = reconstruct_all(
                model_of,
                scans,
                out,
                device=where,
                mask=chosen,
                batch=batch,
                overwrite=overwrite,
                time_limit=limit,
                progress=advance,
                warn=warn if ranks.first else lambda text: None,
                ranks=ranks,
                flips=turned,
            )
        if json is not None and ranks.first:
            write_json(json, summary.to_json())
        say(said(summary, out, data))


def mask_rule(text: str | None) -> Callable[[Scan], SamplingMask | None]:
    """What --mask says: a mask for each scan, or None for the scan's own.

    Raises:
        SettingsError: It is neither a family and a whole number nor a file of masks.
        DataError: The file holds no mask.
    """
    from dealias.errors import SettingsError
    from dealias.io.mask import load_mask
    from dealias.physics.sampling.table import FAMILIES
    from dealias.randomness import generator

    if text is None:
        return lambda scan: None
    if Path(text).suffix in {".npy", ".h5", ".hdf5"}:
        stored = load_mask(Path(text))
        return lambda scan: stored
    name, _, number = text.partition(":")
    if not number.isdecimal() or int(number) < 1:
        raise SettingsError("--mask", f"'{text}'", "snu:4, random:8, ..., or a .npy or .h5 file")
    family = FAMILIES[name]

    def draw(scan: Scan) -> SamplingMask:
        # one seed for all: scans of one size get one mask
        return family.draw(
            (scan.shape[2], scan.shape[3]), int(number), 0.08, generator(430, "mask")
        )

    return draw


def always(model: Model) -> Callable[[Scan], Model]:
    """One model for all scans."""
    return lambda scan: model


def of_anatomy(model: Model, anatomy: str | None) -> Model:
    """The model, told which anatomy all of the data show.

    Raises:
        SettingsError: It has no experts that differ in it, or none for this one.
    """
    from dealias.errors import SettingsError
    from dealias.inference.routing import RoutedExperts
    from dealias.table import nearest

    if anatomy is None:
        return model
    experts = model.reconstructor
    if not isinstance(experts, RoutedExperts) or not experts.router.anatomies:
        do = "leave it out"
        raise SettingsError("--anatomy", f"'{anatomy}'", "a model with experts for anatomies", do)
    known = experts.router.anatomies
    if anatomy not in known:
        advice = nearest(anatomy, known)
        raise SettingsError("--anatomy", f"'{anatomy}'", f"one of {', '.join(known)}", advice)
    experts.anatomy = anatomy
    return model


def tuned(
    method: str,
    scans: tuple[Scan, ...],
    mask: Callable[[Scan], SamplingMask | None],
    protocol: str,
    device: torch.device,
    quiet: bool,
    say: Callable[[str], None],
) -> Callable[[Scan], Model]:
    """What --tune says: the method with the settings that are best at a scan's acceleration.

    Of several ranks each finds them by itself, and the first one says them.

    Raises:
        SettingsError: No classical method, or none that has settings to choose.
        DataError: The data to tune on have no scan of that acceleration.
    """
    from dealias.classical.table import METHODS
    from dealias.cli.progress import bar
    from dealias.errors import DataError
    from dealias.evaluation.tune import tune
    from dealias.inference.bundle import load_model
    from dealias.metrics.protocol import protocol_named

    def rate(scan: Scan) -> float | None:
        used = mask(scan) or scan.mask
        return used.nominal if used else None

    row = METHODS[method]
    with bar("tune", len(scans) * len(row.candidates()), quiet) as advance:
        best = tune(row, scans, rate, protocol_named(protocol), device, mask, advance)
    models = {}
    for found, settings in best.items():
        spec = f"{method}:{','.join(f'{key}={value:g}' for key, value in settings.items())}"
        say(f"X{found:g}: {spec}" if found else spec)
        models[found] = load_model(spec, device)

    def model_of(scan: Scan) -> Model:
        wanted = rate(scan)
        if wanted not in models:
            known = ", ".join(f"X{one:g}" for one in models if one)
            do = "add such scans to the data of --tune"
            raise DataError(scan.name, f"X{wanted or 0:g}", f"{known}, which was tuned", do)
        return models[wanted]

    return model_of


def said(summary: RunSummary, out: Path, data: Path) -> str:
    """The lines printed at the end."""
    slices = sum(volume.slices for volume in summary.volumes)
    residuals = [volume.residual for volume in summary.volumes if volume.residual is not None]
    per_slice = summary.seconds / max(1, slices)
    lines = [
        f"{summary.model}: {len(summary.volumes)} volumes, {slices} slices in "
        f"{summary.seconds:.1f} s ({per_slice:.2f} s a slice), written to {out}",
        *_passes(summary),
        *([f"largest data-consistency residual {max(residuals):.3f}"] if residuals else []),
        *_routes(summary),
        *(_late(summary)),
        f"next: dealias evaluate {out} {data} --protocol snu2025",
    ]
    return "\n".join(lines)


def _routes(summary: RunSummary) -> list[str]:
    """How many volumes went to each expert, with what decided it for the first of them."""
    names = sorted({one.route for one in summary.volumes if one.route is not None})
    lines = []
    for name in names:
        sent = [one for one in summary.volumes if one.route == name]
        lines.append(f"{name}: {len(sent)} volumes, such as {sent[0].file}: {sent[0].why}")
    return lines


def _passes(summary: RunSummary) -> list[str]:
    """How many reconstructions each image is the average of."""
    if not summary.flips:
        return []
    plain, count = summary.plain, len(summary.volumes)
    names = ", ".join(("plain", *summary.flips))
    done = f"{1 + len(summary.flips)} passes averaged ({names})"
    if not plain:
        return [f"{done} in all {count} volumes"]
    left = f"flips left out of {len(plain)} volumes, such as {plain[0]}, to keep --time-limit"
    return [f"{done} in {count - len(plain)} of {count} volumes; {left}"]


def _late(summary: RunSummary) -> list[str]:
    if summary.time_limit is None or summary.seconds <= summary.time_limit:
        return []
    return [f"--time-limit {summary.time_limit:.0f} s was not kept"]
