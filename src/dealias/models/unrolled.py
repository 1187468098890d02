"""The state of an unrolled network: two images and a number instead of multi-coil k-space.

With y the measurement, S the maps, F the transform and M the mask, the k-space that E2E-VarNet
carries is k = alpha y + F S u - M F S v; so its coil-combined image is
x = S^H F^H k = alpha x0 + gram(u) - normal(v), where x0 = A^H y. Data consistency and a refinement
change (alpha, u, v) alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dealias.physics.coils import combine, rss
from dealias.physics.fourier import ifft
from dealias.physics.sense import Sense
from dealias.scan.measurement import Estimate, Measurement


class State(NamedTuple):
    """k = alpha y + F S u - M F S v.

    Attributes:
        alpha: A number (a tensor of one element), or None at the start, where it is 1.
        u_BSHW: Complex, or None at the start, where it is 0.
        v_BSHW: Complex, or None where it is 0.
    """

    alpha: Tensor | None = None
    u_BSHW: Tensor | None = None
    v_BSHW: Tensor | None = None


START = State()
"""k = y; the first image is x0 and costs no transform."""


def image(state: State, A: Sense, x0_BSHW: Tensor) -> Tensor:
    """The coil-combined image S^H F^H k, (B, S, H, W) complex."""
    x = x0_BSHW if state.alpha is None else state.alpha * x0_BSHW
    if state.u_BSHW is not None:
        x = x + A.gram(state.u_BSHW)
    if state.v_BSHW is not None:
        x = x - A.normal(state.v_BSHW)
    return x


def soft_consistency(state: State, step: Tensor) -> State:
    """Soft data consistency: k - step M (k - y).

    Args:
        state: Before.
        step: The weight, one element; 1 restores the measured samples.

    Returns:
        The state after: alpha + step (1 - alpha), u, v + step (u - v).
    """
    # at the start alpha is 1 and stays it; the step still gets its (zero) gradient
    alpha = torch.ones_like(step) if state.alpha is None else state.alpha
    alpha = alpha + step * (1 - alpha)
    if state.u_BSHW is None:
        return State(alpha, None, state.v_BSHW)
    change = state.u_BSHW if state.v_BSHW is None else state.u_BSHW - state.v_BSHW
    v = step * change if state.v_BSHW is None else state.v_BSHW + step * change
    return State(alpha, state.u_BSHW, v)


def weighted_consistency(x_BSHW: Tensor, weight: Tensor) -> State:
    """What a denoiser gave takes the place of k: (y + weight M F S x) / (1 + weight) where sampled.

    Off the mask k is F S x (Schlemper et al. 2018, arXiv:1704.02422; Ottesen et al. 2022).

    Args:
        x_BSHW: The denoised image, complex.
        weight: Of the image beside the data, one element; 0 restores the measured samples.

    Returns:
        The state after: 1 / (1 + weight), x, x / (1 + weight).
    """
    alpha = 1 / (1 + weight)
    return State(alpha, x_BSHW, alpha * x_BSHW)


def refine(state: State, change_BSHW: Tensor) -> State:
    """A refinement: k - F S change."""
    u = -change_BSHW if state.u_BSHW is None else state.u_BSHW - change_BSHW
    return state._replace(u_BSHW=u)


def estimate(state: State, A: Sense, m: Measurement, sens_BSCHW: Tensor) -> Estimate:
    """The root-sum-of-squares image of k, its coil combination, and its coil images.

    Args:
        state: After the last cascade.
        A: The encoding operator.
        m: The measurement.
        sens_BSCHW: The maps of A.

    Returns:
        The estimate on the measurement's grid and scale.
    """
    images_BSCHW = _coil_images(state, A, m)
    if state.u_BSHW is not None:
        images_BSCHW = images_BSCHW + sens_BSCHW * state.u_BSHW.unsqueeze(2)
    centre = images_BSCHW.shape[1] // 2
    combined_BSHW = combine(images_BSCHW, sens_BSCHW)
    return Estimate(rss(images_BSCHW[:, centre], 1), combined_BSHW, sens_BSCHW, images_BSCHW)


def _coil_images(state: State, A: Sense, m: Measurement) -> Tensor:
    """F^H of the part of k that is k-space: alpha y - M F S v."""
    kspace_BSCHW = m.kspace_BSCHW if state.alpha is None else state.alpha * m.kspace_BSCHW
    if state.v_BSHW is not None:
        kspace_BSCHW = kspace_BSCHW - A.forward(state.v_BSHW)
    return ifft(kspace_BSCHW, m.axes)
