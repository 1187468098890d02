"""Stages of a recipe: trainings that follow one another, and the one model made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from dealias.errors import SettingsError
from dealias.models.mixture import TOLERANCE
from dealias.table import nearest

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_OF_STAGE = re.compile(r"([a-z0-9][a-z0-9_-]*):(last|best)")
TAKEN = ("model", "evaluations", "twin", "analysis")
"""Folders of a run that are no stage's."""
RECIPES_OWN = ("name", "stages", "bundle")
"""What a recipe says once, for all of its stages."""
RULE, ELSE = "snu_rule", "else"
"""Where a scan may be sent: its mask is exactly the challenge's, or it is any other."""


class StartSettings(BaseModel):
    """Which weights a stage begins with; optimiser, schedule and epochs begin anew.

    Attributes:
        source: "STAGE:last" or "STAGE:best" of an earlier stage, where both have `each: cell` of
            the same cell; or the path of a run, a bundle or a .safetensors file. Written `from`;
            `start: TEXT` is short for it.
        partial: Whether what does not fit by name and shape may stay behind; it is listed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(alias="from", min_length=1)
    partial: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"from": value} if isinstance(value, str) else value

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        return {"from": self.source, "partial": self.partial}

    @property
    def stage(self) -> tuple[str, str] | None:
        """The stage, and which of its checkpoints; None for a path."""
        found = _OF_STAGE.fullmatch(self.source)
        return (found[1], found[2]) if found else None


class StageSettings(BaseModel):
    """One stage.

    Attributes:
        set: Overrides of the recipe's settings, such as "optimiser.lr=2e-4".
        start: The weights to begin with; None draws fresh ones.
        each: "cell" makes one training for each anatomy and acceleration that the data have.
        pick: Which checkpoint is the stage's model: the best by validation, or the last.
            "best@cell", with `each: cell`, says the same as "best": each cell's own best epoch.
        freeze: Patterns of parameters' names, such as "cascades.[0-5].*", that are not trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    set: tuple[str, ...] = ()
    start: StartSettings | None = None
    each: Literal["cell"] | None = None
    pick: Literal["best", "last", "best@cell"] = "best"
    freeze: tuple[str, ...] = ()


class BundleSettings(BaseModel):
    """The one model that is made of the stages: experts with a router, or an ensemble.

    Attributes:
        route: To which stage a scan goes: "snu_rule" if its mask is exactly the challenge's, "else"
            otherwise. A stage with `each: cell` has an expert for each anatomy and acceleration.
        anatomy: How a scan's is told, where experts differ in it: "none" asks for --anatomy,
            "attrs" believes the data's labels (attributes, or the challenge's file names); a stage
            with task=anatomy, or the path of a classifier (its run, folder or file), names what
            tells it from the images, for which names and labels play no part.
        ensemble: Stages whose images are averaged.
        weights: Of theirs, not negative and 1 in all; "fitted" takes those with the least mean
            squared error on the validation scans' foreground; None makes them equal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    route: dict[Literal["snu_rule", "else"], str] = {}
    anatomy: str = Field(default="none", min_length=1)
    ensemble: tuple[str, ...] = ()
    weights: Literal["fitted"] | tuple[float, ...] | None = None


def refuse_odd_stages(stages: Mapping[str, StageSettings], bundle: BundleSettings | None) -> None:
    """Stages whose names, starts or routes do not go together.

    Raises:
        SettingsError: The first of them.
    """
    earlier: dict[str, StageSettings] = {}
    for name, stage in stages.items():
        where = f"stages.{name}"
        if not _NAME.fullmatch(name) or name in TAKEN:
            do = f"{', '.join(TAKEN)} are folders of every run"
            raise SettingsError(where, f"'{name}'", "a folder's name such as experts-2", do)
        if stage.pick == "best@cell" and stage.each is None:
            raise SettingsError(f"{where}.pick", "best@cell", "best or last", "or set each: cell")
        _refuse_odd_overrides(where, stage)
        _refuse_odd_start(where, stage, earlier)
        earlier[name] = stage
    if bundle is not None:
        _refuse_odd_bundle(bundle, stages)


def of_training(override: str) -> bool:
    """Whether an override is of a training's settings, and not of what a recipe says once."""
    return re.split(r"[.=]", override.lstrip("+"))[0].strip() not in RECIPES_OWN


def _refuse_odd_overrides(where: str, stage: StageSettings) -> None:
    for override in stage.set:
        if not of_training(override):
            raise SettingsError(f"{where}.set", f"'{override}'", "settings of a training")


def _refuse_odd_start(
    where: str, stage: StageSettings, earlier: Mapping[str, StageSettings]
) -> None:
    if stage.start is None or stage.start.stage is None:
        return
    name = stage.start.stage[0]
    if name not in earlier:
        known = ", ".join(earlier) or "none: it is the first"
        advice = nearest(name, list(earlier))
        raise SettingsError(f"{where}.start", f"'{name}'", f"an earlier stage ({known})", advice)
    if earlier[name].each is not None and stage.each is None:
        found = f"'{name}', which has a training for each cell"
        raise SettingsError(f"{where}.start", found, "one training", "set each: cell here, too")


def _refuse_odd_bundle(bundle: BundleSettings, stages: Mapping[str, StageSettings]) -> None:
    named = {f"bundle.route.{rule}": name for rule, name in bundle.route.items()}
    named |= {f"bundle.ensemble.{place}": name for place, name in enumerate(bundle.ensemble)}
    for where, name in named.items():
        if name not in stages:
            known = f"one of {', '.join(stages)}" if stages else "a stage; there are none"
            raise SettingsError(where, f"'{name}'", known, nearest(name, list(stages)))
    if bool(bundle.route) == bool(bundle.ensemble):
        found = "both" if bundle.route else "neither"
        raise SettingsError("bundle", f"{found} of route and ensemble", "one of them")
    if bundle.route and ELSE not in bundle.route:
        do = "name the stage for every mask that is not the challenge's"
        raise SettingsError("bundle.route", f"only {RULE}", f"{RULE} and {ELSE}, or {ELSE}", do)
    if bundle.ensemble:
        _refuse_odd_ensemble(bundle, stages)


def _refuse_odd_ensemble(bundle: BundleSettings, stages: Mapping[str, StageSettings]) -> None:
    where, names = "bundle.ensemble", bundle.ensemble
    for name in names:
        if names.count(name) > 1 or stages[name].each is not None:
            found = f"'{name}' twice" if names.count(name) > 1 else f"'{name}', one for each cell"
            raise SettingsError(where, found, "stages of one training, each once")
    given = bundle.weights
    if isinstance(given, tuple):
        odd = min(given, default=0) < 0 or abs(sum(given) - 1) > TOLERANCE
        if odd or len(given) != len(names):
            expected = f"{len(names)} that are not negative and 1 in all"
            raise SettingsError("bundle.weights", str(list(given)), expected, "or fitted")
