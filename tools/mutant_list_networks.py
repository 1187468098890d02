"""The faults that `make mutants` plants in networks and their published weights."""

from __future__ import annotations

from mutants import Mutant

MODELS, LAYERS = "src/dealias/models", "src/dealias/models/layers"
NETWORK_MUTANTS = [
    Mutant(
        "anchors-of-the-acs-lines",
        f"{MODELS}/fivarnet.py",
        "lines = m.mask_B11HW & ~m.acs_B11HW",
        "lines = m.mask_B11HW",
        "tests/models/test_fivarnet.py",
    ),
    Mutant(
        "image-unet-without-its-prefix",
        f"{MODELS}/published/fastmri.py",
        'rules=(*UNET_RULES, (r"^", "unet."))',
        "rules=UNET_RULES",
        "tests/parity/test_golden.py",
    ),
    Mutant(
        "anchors-columns-before-rows",
        f"{LAYERS}/psf_attention.py",
        "places = [columns.remainder(width) / width, rows / height]",
        "places = [rows / height, columns.remainder(width) / width]",
        "tests/models/test_psf_attention.py",
    ),
    Mutant(
        "anchors-clamped-at-the-edge",
        f"{LAYERS}/psf_attention.py",
        "places = [columns.remainder(width) / width,",
        "places = [columns.clamp(0, width - 1) / width,",
        "tests/models/test_psf_attention.py",
    ),
    Mutant(
        "windows-across-the-edge",
        f"{LAYERS}/swin.py",
        "return windows[:, :, None] == windows[:, None, :]",
        "return (windows[:, :, None] == windows[:, None, :]) | True",
        "tests/models/test_humus.py",
    ),
    Mutant(
        "samples-from-the-zero-filled-image",
        f"{MODELS}/mambarecon.py",
        "return image(State(None, u_BSHW, u_BSHW), A, x0_BSHW)",
        "return A.normal(x0_BSHW) + A.gram(u_BSHW) - A.normal(u_BSHW)",
        "tests/models/test_mambarecon.py",
    ),
    Mutant(
        "dircn-forgets-its-inputs",
        f"{MODELS}/dircn.py",
        "inputs = (x_BSHW, *inputs) if self.dense",
        "inputs = (x_BSHW, *(0 * one for one in inputs)) if self.dense",
        "tests/models/test_dircn.py tests/parity/test_golden.py",
    ),
    Mutant(
        "weighted-consistency-of-the-data-alone",
        f"{MODELS}/unrolled.py",
        "return State(alpha, x_BSHW, alpha * x_BSHW)",
        "return State(alpha, x_BSHW, x_BSHW)",
        "tests/models/test_dircn.py",
    ),
    Mutant(
        "promptmr-buffers-swapped",
        f"{MODELS}/promptmr_plus.py",
        "change, _, latent_BSHW, _, _ =",
        "change, latent_BSHW, _, _, _ =",
        "tests/models/test_promptmr_plus.py tests/parity/test_golden.py",
    ),
    Mutant(
        "ensemble-forgets-its-weights",
        f"{MODELS}/mixture.py",
        "(weight * member(measurement).image_BHW for",
        "(member(measurement).image_BHW for",
        "tests/models/test_mixture.py",
    ),
    Mutant(
        "twins-may-differ",
        f"{MODELS}/published/source.py",
        "if name in converted and not torch.equal(converted[name], value):",
        "if False:",
        "tests/models/test_promptmr_published.py",
    ),
    Mutant(
        "import-drops-what-it-does-not-know",
        "src/dealias/inference/importing.py",
        "weights, cast = _single(file, found.convert(state))",
        "weights, cast = _single(file, found.convert({k: v for k, v in state.items() "
        'if "dc_bias" not in k}))',
        "tests/inference/test_importing.py",
    ),
    Mutant(
        "norm-of-lines-not-centred-twice",
        f"{LAYERS}/norm.py",
        "left_NC = mean(work, shape, last)",
        "left_NC = torch.zeros_like(mean(work, shape, last))",
        "tests/models/test_norm.py",
    ),
    Mutant(
        "mean-of-a-channel-without-its-bias",
        f"{LAYERS}/residual.py",
        "self.norm.weight * share_C, self.norm.bias * share_C",
        "self.norm.weight * share_C, self.norm.bias",
        "tests/models/test_dircn.py",
    ),
    Mutant(
        "prelu-of-all-values",
        f"{LAYERS}/activated.py",
        "negative = lines(x.clamp(max=0), last)",
        "negative = lines(x, last)",
        "tests/models/test_activated.py",
    ),
]
