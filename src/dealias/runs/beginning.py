"""What a training begins with: weights of another network, some of them kept as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from dealias.errors import CheckpointError, SettingsError
from dealias.table import nearest

_SHOWN = 4


@dataclass(frozen=True)
class Fit:
    """Which weights go into a network.

    Attributes:
        loaded: Those that do, by name and shape.
        reshaped: Of both, by one name and two shapes: they keep the network's fresh values.
        missing: Of the network alone: they keep fresh values as well.
        unused: Of the weights alone.
    """

    loaded: tuple[str, ...]
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    @classmethod
    def of(cls, weights: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> Fit:
        """Compare weights with a network's state_dict; neither need have values."""
        both = [name for name in network if name in weights]
        fits = {name: weights[name].shape == network[name].shape for name in both}
        return cls(
            tuple(name for name in both if fits[name]),
            tuple(name for name in both if not fits[name]),
            tuple(name for name in network if name not in weights),
            tuple(name for name in weights if name not in network),
        )

    @property
    def whole(self) -> bool:
        """Whether each has what the other has."""
        return not (self.reshaped or self.missing or self.unused)

    def left(self) -> str:
        """What was not loaded, in a line that names the first of each kind."""
        parts = {"of another shape": self.reshaped, "missing": self.missing, "unknown": self.unused}
        return "; ".join(f"{what}: {_listed(names)}" for what, names in parts.items() if names)

    def reasons(self) -> list[str]:
        """Every name that was not loaded, with the reason."""
        parts = {"another shape": self.reshaped, "missing": self.missing, "unknown": self.unused}
        return [f"{name} ({reason})" for reason, names in parts.items() for name in names]


@dataclass(frozen=True)
class Beginning:
    """What a training begins with besides its settings.

    Attributes:
        weights: To load, or None to keep fresh ones.
        source: Where they come from, in words.
        frozen: Patterns of the parameters that are not trained.
    """

    weights: Mapping[str, Tensor] | None = None
    source: str = ""
    frozen: tuple[str, ...] = ()

    def __call__(
        self, network: nn.Module, say: Callable[[str], None], log: Callable[[str], None]
    ) -> dict[str, Any]:
        """Load and freeze.

        Args:
            network: With fresh weights.
            say: Told how many.
            log: Told every name.

        Returns:
            What was loaded, what was not and what is frozen, for run.json.
        """
        recorded: dict[str, Any] = {}
        if self.weights is not None:
            fit = Fit.of(self.weights, network.state_dict())
            begin_with(network, self.weights, fit)
            recorded = {"start": self.source, "loaded": list(fit.loaded),
                        "not_loaded": fit.reasons()}  # fmt: skip
            left = "" if fit.whole else f"; not loaded: {fit.left()}"
            say(f"begins with {self.source}: {len(fit.loaded)} tensors{left}")
        if self.frozen:
            recorded["frozen"] = list(freeze(network, self.frozen))
            say(f"frozen: {len(recorded['frozen'])} parameters")
        for key in ("loaded", "not_loaded", "frozen"):
            if recorded.get(key):
                log(f"{key.replace('_', ' ')}: {', '.join(recorded[key])}")
        return recorded


def refuse_misfit(where: object, fit: Fit, partial: bool) -> None:
    """Weights that do not go into a network.

    Raises:
        CheckpointError: They are not all loaded, and that was not asked for; or none would be.
    """
    if fit.whole or (partial and fit.loaded):
        return
    count = len(fit.loaded) + len(fit.reshaped) + len(fit.missing)
    do = "" if partial else "start.partial: true loads what fits"
    raise CheckpointError(where, fit.left(), f"weights of this network's {count} tensors", do)


def begin_with(network: nn.Module, weights: Mapping[str, Tensor], fit: Fit) -> None:
    """Load what fits; all else keeps its values."""
    loaded = {name: weights[name] for name in fit.loaded}
    network.load_state_dict({**network.state_dict(), **loaded})


def freeze(network: nn.Module, patterns: Sequence[str], where: str = "freeze") -> tuple[str, ...]:
    """Leave parameters as they are: no gradient, no step.

    Args:
        network: Whose.
        patterns: Of names, as a shell's: *, ? and [0-5].
        where: The key, for the message.

    Returns:
        Names of those that match a pattern.

    Raises:
        SettingsError: A pattern matches nothing, or nothing is left to train.
    """
    parameters = dict(network.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            advice = nearest(pattern, list(parameters))
            raise SettingsError(where, f"'{pattern}'", "a pattern of parameters' names", advice)
    frozen = [name for name in parameters if any(fnmatchcase(name, one) for one in patterns)]
    if len(frozen) == len(parameters):
        raise SettingsError(where, "patterns of all parameters", "some that are trained", "")
    for name in frozen:
        parameters[name].requires_grad_(False)
    return tuple(frozen)


def _listed(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
