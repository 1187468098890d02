"""Mixup: a training sample superposed with another slice of its shape, by counted randomness.

Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond empirical risk minimization, ICLR 2018
(arXiv:1710.09412). A batch of one is enough: the other slice is read by the sample's own worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from torch import Tensor

from dealias.data.augment_slices import anatomy_of
from dealias.randomness import generator
from dealias.scan.scan import Scan


class Partner(NamedTuple):
    """What a sample is mixed with.

    k-space is linear in the object, so the mixture is the fully sampled scan of the two objects
    superposed, each as its own coils saw it; its target is the root-sum-of-squares of what comes
    out, and not a mixture of two targets.

    Attributes:
        scan: Place of its scan.
        z: Its slice.
        share: The sample's own part of the mixture, 0..1.
    """

    scan: int
    z: int
    share: float

    def mixed(self, own: Tensor, other: Tensor) -> Tensor:
        """Share x own + (1 - share) x other, of the same shape and dtype."""
        return own * self.share + other * (1 - self.share)

    def between(self, own: float, other: float) -> float:
        """The same of two numbers that belong to the volumes.

        Of data ranges it is a bound that the mixture never exceeds, as the root-sum-of-squares is a
        norm; its exact maximum would need every slice of both volumes, mixed.
        """
        return own * self.share + other * (1 - self.share)


class Mixup:
    """Who may be mixed with whom: slices of one shape and one anatomy.

    The challenge of 2022, whose ensemble team tried it, had brains alone; here knees stay knees,
    whose foreground is told by another threshold.

    Args:
        parameter: Of the Beta(a, a) that shares are drawn from; None mixes nothing.
        scans: Of the training.
        seed: The run's.
    """

    def __init__(self, parameter: float | None, scans: Sequence[Scan], seed: int) -> None:
        self.parameter, self.seed = parameter, seed
        self._alike: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
        self._kinds = [_kind(scan) for scan in scans]
        if parameter is not None:
            for s, scan in enumerate(scans):
                self._alike[self._kinds[s]] += [(s, z) for z in range(scan.slices)]

    def drawn(
        self, place: tuple[int, int], epoch: int, index: int, strength: float = 1.0
    ) -> Partner | None:
        """The partner of one sample, another slice than its own.

        Args:
            place: Scan and slice of the sample.
            epoch: Of the run.
            index: Of the sample.
            strength: The probability that it is mixed at all, which changes no other draw.

        Returns:
            The partner: a function of the arguments alone. None where there is no other slice of
            this shape and anatomy.
        """
        if self.parameter is None:
            return None
        alike = self._alike[self._kinds[place[0]]]
        rng = generator(self.seed, "mixup", epoch, index)
        chance, share = rng.random(), float(rng.beta(self.parameter, self.parameter))
        if len(alike) < 2 or chance >= strength:
            return None
        # a draw among all but its own, which the last one stands for
        other = alike[int(rng.integers(len(alike) - 1))]
        return Partner(*(alike[-1] if other == place else other), share)


def _kind(scan: Scan) -> Hashable:
    return (scan.shape[1:], scan.geometry.target_hw, anatomy_of(scan))
