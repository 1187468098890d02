"""Averages of the weights over training steps."""

from __future__ import annotations

from typing import Any, cast

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dealias.models.network import Network


class Average:
    """The exponential moving average of a network's weights; the first step's are its start.

    The network itself trains on: the average is a copy beside it.

    Args:
        network: Whose weights.
        decay: Share of the average that each step keeps, 0..1.
    """

    def __init__(self, network: Network, decay: float) -> None:
        ema = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._model = AveragedModel(network, multi_avg_fn=ema)
        self.update = self._model.update_parameters

    @property
    def network(self) -> Network:
        """The network with the averaged weights."""
        return cast("Network", self._model.module)

    def load(self, weights: dict[str, Any]) -> None:
        """Go on from these averaged weights, a network's state_dict."""
        self.network.load_state_dict(weights)
        # or the next update would begin anew
        self._model.n_averaged.fill_(1)
