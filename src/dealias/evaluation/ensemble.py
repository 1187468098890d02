"""Weights of an ensemble, fitted to targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def error_products(
    images: Sequence[npt.NDArray[np.float32]],
    target: npt.NDArray[np.float32],
    inside: npt.NDArray[np.bool_],
) -> Floats:
    """What `fitted_weights` needs to know of some slices: sums of products of errors.

    Sums of several volumes add up; nothing else of them need be kept.

    Args:
        images: Of each member, (Z, H, W).
        target: (Z, H, W).
        inside: Of the foreground, (Z, H, W).

    Returns:
        (N, N) for N members: the sum over the foreground of the product of two members' errors.
    """
    wanted = target[inside].astype(np.float64)
    errors_NP = np.stack([image[inside].astype(np.float64) - wanted for image in images])
    return errors_NP @ errors_NP.T


def fitted_weights(products_NN: Floats) -> tuple[float, ...]:
    """Weights, not negative and 1 in all, whose average has the least mean squared error.

    As the weights are 1 in all, the average's error is the average of the errors, and its mean
    square w^T M w. Non-negative least squares of (M^1/2; 1^T) u = (0; 1) has the same direction:
    for u = s w it is s^2 w^T M w + (s - 1)^2, whose least over w is the same at every s > 0.

    Args:
        products_NN: Of `error_products`, summed over all that the weights shall serve.

    Returns:
        A weight for each member; equal ones where no member has an error.
    """
    # a quarter of a second, which every other command would pay as well
    import scipy.optimize

    count = len(products_NN)
    values, vectors = np.linalg.eigh(products_NN)
    largest = values.max()
    if largest <= 0:
        return (1 / count,) * count
    root_NN = np.sqrt(np.clip(values / largest, 0, None))[:, None] * vectors.T
    found, _ = scipy.optimize.nnls(np.vstack([root_NN, np.ones(count)]), np.eye(count + 1)[-1])
    return tuple(float(one) for one in found / found.sum())
