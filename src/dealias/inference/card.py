"""The model card: what a model is for, in one page that travels with it."""

from __future__ import annotations

from typing import Any

from dealias.io.output import NOTICE

UNVALIDATED = "trained on the validation data as well: there is no validation score"
"""What is said of a final run wherever a score would stand."""
_CARD = """\
# {network}: a dealias model

**{notice}.** Do not use its images for diagnosis or treatment.

## What it does
Reconstructs magnitude images from undersampled multi-coil Cartesian k-space.
Network `{network}`, {parameters}, made with dealias {version}; licence {licence}.
{provenance}

## What it was trained on
{training}

Data unlike this may be reconstructed badly, and convincingly so: `dealias reconstruct` warns where
a scan lies outside these ranges, and states the data-consistency residual, which needs no target.

## How it was scored
{protocol}

## Use
    dealias reconstruct FOLDER DATA --out DIR
"""


def model_card(header: dict[str, Any], parameters: int) -> str:
    """The card's text (Markdown).

    Args:
        header: The model file's header.
        parameters: Number of the network's parameters.

    Returns:
        Markdown, without names of people, hosts or folders.
    """
    return _CARD.format(
        notice=NOTICE,
        network=header["network"],
        parameters=f"{parameters:,} parameters",
        version=header["dealias_version"],
        licence=header.get("licence") or "not stated",
        provenance=_provenance(header.get("provenance")),
        training=_training(header.get("profile")),
        protocol=_scored(header),
    )


_CLASSIFIER = """\
# A classifier of anatomies: a dealias model

**{notice}.**

## What it does
Tells {classes} by the {image} image of each slice, one answer a volume: it chooses the network
that reconstructs, and makes no image.
ResNet of {parameters:,} parameters, made with dealias {version}; licence {licence}.
{provenance}
## How it was scored
{protocol}

## Use
`bundle.anatomy: FOLDER` in a recipe with experts.
"""


def classifier_card(header: dict[str, Any], parameters: int) -> str:
    """The card of a classifier (Markdown).

    Args:
        header: The file's header.
        parameters: Number of its parameters.
    """
    settings = header["classifier"]
    return _CLASSIFIER.format(
        notice=NOTICE,
        classes=" from ".join(settings["classes"]),
        image=settings["image"],
        parameters=parameters,
        version=header["dealias_version"],
        licence=header.get("licence") or "not stated",
        provenance=_provenance(header.get("provenance")),
        protocol=_scored(header),
    )


def _scored(header: dict[str, Any]) -> str:
    if header.get("trained_on_validation"):
        return f"Not at all: {UNVALIDATED}."
    protocol = header.get("protocol")
    return f"Chosen by protocol `{protocol}`." if protocol else "Not stated."


def _training(profile: dict[str, Any] | None) -> str:
    if profile is None:
        return "Not stated."
    facts = {
        "scans": f"{profile['volumes']} volumes, {profile['slices']} slices",
        "anatomies": _list(profile["anatomies"]),
        "matrix": f"H {_span(profile['rows'])}, W {_span(profile['columns'])}",
        "coils": _span(profile["coils"]),
        "nominal accelerations": _list(profile["nominal"]),
        "mask families": _list(profile["families"]),
        "largest k-space magnitude": _span(profile["scale"]),
    }
    return "\n".join(f"- {what}: {said}" for what, said in facts.items())


def _provenance(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return (
        f"Converted from {found['kind']} weights, trained with {found['project']}; "
        f"SHA-256 of their file: {found['sha256']}.\n"
    )


def _list(values: Any) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _span(limits: Any) -> str:
    if limits is None:
        return "not stated"
    return f"{limits[0]:.4g}" if limits[0] == limits[1] else f"{limits[0]:.4g} to {limits[1]:.4g}"
