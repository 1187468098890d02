"""Effective receptive field: which samples of k-space decide about one pixel, and how much.

Luo et al. 2016 (arXiv:1701.04128) take it of images; here the input is k-space.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dealias.physics.fourier import fft
from dealias.scan.measurement import Measurement, Reconstructor


def receptive_field(model: Reconstructor, measurement: Measurement, encoded: int) -> Tensor:
    """The magnitude of the centre pixel's derivative by each sample of k-space.

    Of a network that is linear up to the final magnitude it is the same for all images; else it
    belongs to this one. Off the mask it is 0: nothing was measured there. Priors and ESPIRiT maps,
    which are made before the network runs, count as given.

    Args:
        model: A network in eval mode, or another reconstruction through which gradients can flow,
            on the measurement's device.
        measurement: One slice (B = 1), as `measure` makes it.
        encoded: H of k-space, of whose rows the measurement may have fewer.

    Returns:
        (H, W) real, in the unit of the image over that of k-space: the root-sum-of-squares over the
        coils of the centre slice, for the pixel at (H//2, W//2) of the target's grid. Where coils
        are compressed these are the virtual coils: SCC's have the same root-sum-of-squares.
    """
    given = measurement.kspace_BSCHW
    kspace_BSCHW = given.detach().clone().requires_grad_()
    with torch.enable_grad():
        seen = replace(measurement, kspace_BSCHW=kspace_BSCHW)
        image_BHW = seen.window(model(seen).image_BHW)
        h, w = image_BHW.shape[-2:]
        (gradient,) = torch.autograd.grad(image_BHW[0, h // 2, w // 2], kspace_BSCHW)
    coils_CHW = gradient[0, gradient.shape[1] // 2]
    if measurement.axes == (-1,):
        # rows of an image along the readout: the derivative by k-space is their transform
        start, stop = model.needs.rows(encoded, measurement.target_hw[0])
        whole_CHW = coils_CHW.new_zeros(coils_CHW.shape[0], encoded, coils_CHW.shape[-1])
        whole_CHW[:, start:stop] = coils_CHW
        coils_CHW = fft(whole_CHW, (-2,))
    field_HW = torch.linalg.vector_norm(coils_CHW, dim=0) * measurement.scale_B[0]
    return torch.where(measurement.mask_B11HW[0, 0, 0], field_HW, 0)
