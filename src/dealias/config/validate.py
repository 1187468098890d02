"""Settings judged: a wrong key or value is one line with its path and the nearest name."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dealias.errors import SettingsError
from dealias.models.table import NETWORKS
from dealias.table import nearest

Model = TypeVar("Model", bound=BaseModel)


def checked(model: type[Model], values: Any, where: str = "") -> Model:
    """Settings from plain values.

    Args:
        model: The settings class.
        values: What a person wrote.
        where: The file or command, for the message.

    Returns:
        The settings.

    Raises:
        SettingsError: Unknown key, wrong type, out of range; the first one, and how many more.
    """
    _no_booleans_for_numbers(model, values, "")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _first(error, model, where) from None


def _no_booleans_for_numbers(model: type[BaseModel], values: Any, where: str) -> None:
    """YAML reads `no` as False, and pydantic reads False as 0."""
    if isinstance(values, list | tuple):
        for place, one in enumerate(values):
            _no_booleans_for_numbers(model, one, _path_of(where, str(place)))
    if not isinstance(values, dict):
        return
    for key, field in model.model_fields.items():
        value = values.get(key)
        if isinstance(value, bool) and bool not in _types(field.annotation):
            raise SettingsError(
                _path_of(where, key), str(value), "no truth value", "quote a text, write a number"
            )
        for inner in _models(field.annotation):
            _no_booleans_for_numbers(inner, value, _path_of(where, key))


def _path_of(where: str, key: str) -> str:
    """The dotted path of a key below another."""
    return f"{where}.{key}" if where else key


def _types(annotation: Any) -> set[Any]:
    parts = getattr(annotation, "__args__", ())
    return {annotation}.union(*(_types(part) for part in parts)) if parts else {annotation}


def _first(error: ValidationError, model: type[BaseModel], where: str) -> SettingsError:
    errors = error.errors(include_url=False, include_context=False)
    first = errors[0]
    names = [part for part in first["loc"] if not _is_tag(part, model)]
    path = ".".join(str(part) for part in names)
    said = first["msg"][:1].lower() + first["msg"][1:]
    found = _shown(first.get("input"))
    advice = ""
    if first["type"] == "extra_forbidden":
        found, said = "an unknown key", "a known one"
        advice = nearest(str(names[-1]), sorted(_keys(model, names[:-1])))
    if len(errors) > 1:
        advice = f"{advice} ({len(errors) - 1} more)".strip()
    prefix = f"{where}: " if where else ""
    return SettingsError(f"{prefix}{path}", found, said, advice)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_tag(part: Any, model: type[BaseModel]) -> bool:
    """Whether a part of the path is the name of a union's member, which nobody wrote."""
    field = model.model_fields.get("network")
    return field is not None and part in NETWORKS.names


def _keys(model: type[BaseModel], path: list[Any]) -> set[str]:
    """Keys that are known at a path below a model; all members of a union count."""
    models = [model]
    for part in path:
        inner: list[type[BaseModel]] = []
        for one in models:
            field = one.model_fields.get(str(part))
            # a part that is no field is the key of a mapping, whose values have these fields
            inner += [one] if field is None else _models(field.annotation)
        models = inner
    return {key for one in models for key in one.model_fields}


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _models(part)]
