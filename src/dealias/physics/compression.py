"""Coil compression: few virtual coils that hold nearly all of the signal of many.

SCC has one matrix for all of k-space; GCC has one for each position along the readout, where coils
see less of the object and so fewer virtual coils do. Rows of all matrices are orthonormal: noise
that is white between coils (see `noise.prewhiten`, which belongs before) stays white. Singular
vectors have no phase of their own: here each virtual coil's strongest ACS sample is real and
positive, so that the order of the coils, and who computed it, decide nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dealias.errors import DataError, SettingsError
from dealias.physics.fourier import fft, ifft


def scc(
    kspace_CHW: Tensor, acs: tuple[int, int], keep: float, acs_rows: tuple[int, int] | None = None
) -> Tensor:
    """One compression matrix for all of k-space, by SVD of the ACS region.

    Buehrer et al., Magn Reson Med 57:1131 (2007); Huang et al., Magn Reson Imaging 26:133 (2008).

    Args:
        kspace_CHW: k-space (..., C, H, W), complex, centred; leading axes (slices) share a matrix.
        acs: [start, stop) of the ACS along W.
        keep: An int is the number of virtual coils; a float the share of the ACS's energy that
            they shall hold at least, above 0 and at most 1.
        acs_rows: The same as `acs` along H, or None for all rows.

    Returns:
        (V, C) complex128 with orthonormal rows, the strongest virtual coil first.

    Raises:
        DataError: No ACS lines, or k-space that is not finite.
        SettingsError: `keep` is out of range.
    """
    region_CN = _calibration(kspace_CHW, acs, acs_rows).flatten(1)
    values_C, vectors_CC = torch.linalg.eigh(region_CN @ region_CN.mH)
    return _with_phases(vectors_CC[:, -_count(values_C, keep) :].flip(1).mH, region_CN)


def gcc(kspace_CHW: Tensor, acs: tuple[int, int], keep: float, transformed: bool = False) -> Tensor:
    """A compression matrix for each position along a fully sampled readout.

    Zhang et al., Magn Reson Med 69:571 (2013). From the centre outwards, each position's virtual
    coils are rotated among themselves to be as near as can be to their neighbour's: otherwise they
    would jump along the readout, and kernels (GRAPPA, ESPIRiT) could not follow them.

    Args:
        kspace_CHW: As for `scc`, with every row of the ACS lines measured.
        acs: [start, stop) of the ACS along W.
        keep: As for `scc`; the number of virtual coils is the same at all positions.
        transformed: Whether H is an image's axis already (hybrid space), of which rows may lack.

    Returns:
        (H, V, C) complex128; each (V, C) has orthonormal rows.

    Raises:
        DataError: As for `scc`.
        SettingsError: As for `scc`.
    """
    region = _calibration(kspace_CHW, acs, None)
    hybrid_HCN = (region if transformed else ifft(region, (-2,))).movedim(-2, 0).flatten(2)
    values_HC, vectors_HCC = torch.linalg.eigh(hybrid_HCN @ hybrid_HCN.mH)
    kept = _count(values_HC.sum(0), keep)
    rows_HVC = vectors_HCC[..., -kept:].flip(-1).mH
    centre = len(rows_HVC) // 2
    first_VC = _with_phases(rows_HVC[centre], hybrid_HCN[centre])
    return _aligned(torch.cat([rows_HVC[:centre], first_VC[None], rows_HVC[centre + 1 :]]))


def compress(kspace_CHW: Tensor, matrices_VC: Tensor) -> Tensor:
    """k-space of the virtual coils.

    Args:
        kspace_CHW: (..., C, H, W) complex. For GCC its readout must be fully sampled: whole lines
            that are 0 stay 0, single samples do not.
        matrices_VC: Of `scc` or `gcc`.

    Returns:
        (..., V, H, W), of the same dtype.
    """
    if matrices_VC.ndim == 2:
        return compress_images(kspace_CHW, matrices_VC)
    return fft(compress_images(ifft(kspace_CHW, (-2,)), matrices_VC), (-2,))


def compress_images(images_CHW: Tensor, matrices_VC: Tensor) -> Tensor:
    """Coil images, sensitivity maps, or data in hybrid space, of the virtual coils; see `compress`.

    Args:
        images_CHW: (..., C, H, W) complex, an image along the readout.
        matrices_VC: Of `scc` or `gcc`.

    Returns:
        (..., V, H, W), of the same dtype.
    """
    axes = "vc" if matrices_VC.ndim == 2 else "hvc"
    return torch.einsum(f"{axes},...chw->...vhw", matrices_VC.to(images_CHW), images_CHW)


def _calibration(
    kspace_CHW: Tensor, acs: tuple[int, int], acs_rows: tuple[int, int] | None
) -> Tensor:
    """The ACS region with coils first: (C, ..., h, w) complex128."""
    region = kspace_CHW[..., slice(*(acs_rows or (None,))), slice(*acs)].movedim(-3, 0)
    if region.numel() == 0:
        raise DataError("coil compression", "no ACS lines", "some", "choose a mask that has them")
    if not bool(torch.isfinite(region).all()):
        raise DataError("coil compression", "k-space that is not finite", "", "check the scan")
    return region.to(torch.complex128)


def _count(energy_C: Tensor, keep: float) -> int:
    """How many virtual coils; energies are ascending, as eigenvalues are given."""
    coils = len(energy_C)
    if isinstance(keep, int):
        if not 1 <= keep <= coils:
            raise SettingsError("virtual coils", str(keep), f"1 to {coils}, the number of coils")
        return keep
    if not 0 < keep <= 1:
        raise SettingsError("share of energy", f"{keep:g}", "above 0, at most 1")
    held_C = energy_C.clamp(min=0).flip(0).cumsum(0)
    return int((held_C < keep * held_C[-1]).sum()) + 1


def _with_phases(matrix_VC: Tensor, region_CN: Tensor) -> Tensor:
    """Each virtual coil turned so that its strongest sample is real and positive."""
    virtual_VN = matrix_VC @ region_CN
    strongest_V1 = virtual_VN.gather(1, virtual_VN.abs().argmax(1, keepdim=True))
    size_V1 = strongest_V1.abs()
    turn_V1 = torch.where(size_V1 == 0, 1, strongest_V1.conj() / size_V1.where(size_V1 != 0, 1))
    return turn_V1 * matrix_VC


def _aligned(matrices_HVC: Tensor) -> Tensor:
    """Each position's rows rotated to be nearest those of the next position towards the centre."""
    centre, aligned = len(matrices_HVC) // 2, list(matrices_HVC)
    for positions, step in ((range(centre + 1, len(aligned)), -1), (range(centre)[::-1], 1)):
        for here in positions:
            # orthogonal Procrustes: the unitary factor of neighbour * this^H
            left, _, right = torch.linalg.svd(aligned[here + step] @ aligned[here].mH)
            aligned[here] = left @ right @ aligned[here]
    return torch.stack(aligned)
