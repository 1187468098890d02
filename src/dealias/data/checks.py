"""What can be wrong with one scan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from dealias.data.findings import Finding
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.readout import centre_crop_or_pad
from dealias.scan.scan import Array, Scan

SCALE = (1e-12, 1e6)
DEAD = 1e-6
"""A coil with less than this share of the strongest coil's energy is dead."""
CORRELATION, RATIO = 0.99, 0.05
"""A target must correlate this well with its k-space, and agree in scale to this share."""


def check_scan(scan: Scan, file: Path, training: bool) -> list[Finding]:
    """All checks of one scan, its k-space streamed slice by slice.

    Args:
        scan: The scan.
        file: Its k-space file, for the findings.
        training: Whether it is to be trained or validated on, and so must be fully sampled.

    Returns:
        Findings; at least one PASS that describes the scan.
    """
    name = str(file)
    energy_ZC, finite_Z, peak, signal_HW = _stream(scan)
    findings = [Finding("PASS", name, "k-space", _description(scan))]
    findings += _numbers(scan, name, energy_ZC, finite_Z, peak)
    findings += _mask(scan, name, training)
    if finite_Z.all() and peak > 0:
        findings += _mask_fits(scan, name, signal_HW)
        findings += _target(scan, name, int(energy_ZC.sum(1).argmax()))
    return findings


def _description(scan: Scan) -> str:
    z, c, h, w = scan.shape
    mask = scan.mask
    said = f"{z} slices, {c} coils, {h} x {w}, {'full' if scan.full else 'masked'}"
    if mask is None:
        return f"{said}, no mask"
    nominal = f" X{mask.nominal:g}" if mask.nominal else ""
    return f"{said}, {mask.family}{nominal} (R {mask.effective:.2f}), {mask.acs_count} ACS lines"


def _stream(scan: Scan) -> tuple[Array, Array, float, Array]:
    """Energy of each coil of each slice, which slices are finite, the peak, where signal is."""
    energies, finite, peak = [], [], 0.0
    signal_HW = np.zeros(scan.shape[2:], dtype=bool)
    for z in range(scan.slices):
        kspace_CHW = scan.kspace(z)[0]
        ok = bool(np.isfinite(kspace_CHW).all())
        magnitude = np.abs(kspace_CHW).astype(np.float64) if ok else np.zeros(kspace_CHW.shape)
        finite.append(ok)
        peak = max(peak, float(magnitude.max()))
        signal_HW |= (kspace_CHW != 0).any(0)
        energies.append((magnitude**2).sum((1, 2)))
    return np.array(energies), np.array(finite), peak, signal_HW


def _numbers(
    scan: Scan, name: str, energy_ZC: Array, finite_Z: Array, peak: float
) -> Iterator[Finding]:
    if not finite_Z.all():
        bad = ", ".join(map(str, np.flatnonzero(~finite_Z)[:5]))
        do = "leave the volume out or export it again"
        yield Finding("FAIL", name, "k-space", f"NaN or infinity in slice {bad}", "numbers", do)
        return
    if peak == 0:
        do = "export it again"
        yield Finding("FAIL", name, "k-space", "only zeros", "a measurement", do)
        return
    if not SCALE[0] <= peak <= SCALE[1]:
        expected = f"{SCALE[0]:g} to {SCALE[1]:g}"
        yield Finding("WARN", name, "scale", f"largest magnitude {peak:.3g}", expected)
    blank = np.flatnonzero(energy_ZC.sum(1) == 0)
    if blank.size:
        yield Finding("WARN", name, "slices", f"blank: {', '.join(map(str, blank[:5]))}", "signal")
    energy_C = energy_ZC.sum(0)
    dead = np.flatnonzero(energy_C < DEAD * energy_C.max())
    if dead.size:
        found = f"dead coils: {', '.join(map(str, dead[:8]))}"
        yield Finding("WARN", name, "coils", found, "signal in every coil")


def _mask(scan: Scan, name: str, training: bool) -> Iterator[Finding]:
    if training and not scan.full:
        do = "get the full data; a network trained on this learns to draw the gaps"
        found = "k-space that is already masked"
        yield Finding("FAIL", name, "sampling", found, "fully sampled training data", do)
    if scan.mask is None:
        if not scan.full:
            yield Finding("FAIL", name, "mask", "none", "one mask for masked k-space")
        return
    if scan.mask.acs_count < 2 and not scan.mask.full:
        found = f"{scan.mask.acs_count} ACS lines"
        yield Finding("WARN", name, "mask", found, "some", "maps cannot be estimated")
    if scan.mask.family in ("random", "custom"):
        found = f"a mask of no known rule (R {scan.mask.effective:.2f})"
        yield Finding("WARN", name, "mask", found, "the rule you train on")


def _mask_fits(scan: Scan, name: str, signal_HW: Array) -> Iterator[Finding]:
    """Whether masked k-space has signal where its mask samples, and nowhere else."""
    if scan.mask is None or scan.full:
        return
    lines = scan.mask.lines
    signal = signal_HW.any(0) if lines.ndim == 1 else signal_HW
    # zeros beyond the outermost samples are padding
    box = tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(signal))
    what = "lines" if lines.ndim == 1 else "samples"
    empty, beyond = int((lines & ~signal)[box].sum()), int((signal & ~lines).sum())
    expected = "the mask that k-space was masked with"
    do = "store the mask that was used, or none: it is then found from k-space"
    if empty:
        found = f"{empty} {what} that it samples hold only zeros"
        yield Finding("FAIL", name, "mask", found, expected, do)
    if beyond:
        found = f"{beyond} {what} that it leaves out hold signal"
        yield Finding("FAIL", name, "mask", found, expected, do)


def _target(scan: Scan, name: str, brightest: int) -> Iterator[Finding]:
    stored_ZHW = scan.image("target", slice(None))
    if stored_ZHW is None:
        return
    if not np.isfinite(stored_ZHW).all():
        yield Finding("FAIL", name, "target", "NaN or infinity", "numbers", "export it again")
        return
    top = float(stored_ZHW.max())
    stated = scan.data_range
    if stated is not None and not np.isclose(stated, top, rtol=1e-3):
        found = f"attribute max {stated:.4g}, real maximum {top:.4g}"
        yield Finding("WARN", name, "target", found, "the same", "scores would use the attribute")
    if scan.full:
        yield from _agreement(scan, name, brightest, stored_ZHW[brightest])


def _agreement(scan: Scan, name: str, z: int, stored_HW: Array) -> Iterator[Finding]:
    # both at scale 1: squares of 1e-30 or 1e25 leave single precision
    kspace_CHW, strength = _unit(scan.kspace(z)[0])
    stored_HW, stored_strength = _unit(stored_HW)
    coil_images = ifft(torch.from_numpy(kspace_CHW))
    made_HW = centre_crop_or_pad(rss(coil_images, 0), scan.geometry.target_hw).numpy()
    if made_HW.std() == 0:
        return
    if stored_HW.std() == 0:
        found = f"slice {z}: one value everywhere, and signal in its k-space"
        yield Finding("FAIL", name, "target", found, "an image", "export it again")
        return
    correlation = float(np.corrcoef(made_HW.ravel(), stored_HW.ravel())[0, 1])
    ratio = float(np.linalg.norm(made_HW) / np.linalg.norm(stored_HW))
    ratio *= strength / stored_strength
    if correlation < CORRELATION:
        found = f"slice {z}: correlation {correlation:.3f} with the RSS of its k-space"
        do = "is it another scan's, transposed, or not the RSS image?"
        yield Finding("FAIL", name, "target", found, f"at least {CORRELATION}", do)
    elif abs(ratio - 1) > RATIO:
        found = f"slice {z}: its k-space is {ratio:.3g} times as strong"
        do = "store both in the same units"
        yield Finding("FAIL", name, "target", found, "the same scale", do)


def _unit(values: Array) -> tuple[Array, float]:
    """Values divided by their largest part, and that part; zeros stay as they are."""
    values = np.ascontiguousarray(values)
    peak = float(np.abs(values.view(np.float32)).max())
    if peak == 0:
        return values, 1.0
    wide = values.astype(np.result_type(values.dtype, np.float64))
    return (wide / peak).astype(values.dtype), peak
