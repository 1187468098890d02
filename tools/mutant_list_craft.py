"""The faults that `make mutants` plants around the networks: losses, masks, schedules, stages."""

from __future__ import annotations

from mutants import Mutant

TRAINING, METRICS = "src/dealias/training", "src/dealias/metrics"
EVALUATION = "src/dealias/evaluation"
CRAFT_MUTANTS = [
    Mutant(
        "luminance-of-three-scales",
        f"{METRICS}/multiscale.py",
        "moments.luminance()[-1]",
        "moments.luminance()[-3:].prod(0)",
        "tests/metrics/test_multiscale.py",
    ),
    Mutant(
        "target-not-shaded",
        f"{TRAINING}/losses.py",
        "return image_BHW * kept_BHW, target_BHW * kept_BHW",
        "return image_BHW * kept_BHW, target_BHW",
        "tests/training/test_losses.py",
    ),
    Mutant(
        "mean-of-epochs-starts-again",
        f"{TRAINING}/averaging.py",
        'memory.get("count", 1)',
        "1",
        "tests/training/test_resume.py",
    ),
    Mutant(
        "plateau-of-totals",
        f"{TRAINING}/checkpoint.py",
        "[1 - total for",
        "[total for",
        "tests/training/test_schedules.py",
    ),
    Mutant(
        "early-stop-counts-later-epochs",
        f"{TRAINING}/early.py",
        "if at < by]",
        "if at <= by]",
        "tests/training/test_early.py",
    ),
    Mutant(
        "receptive-field-of-the-hybrid-space",
        f"{EVALUATION}/receptive_field.py",
        "coils_CHW = fft(whole_CHW, (-2,))",
        "coils_CHW = whole_CHW",
        "tests/evaluation/test_receptive_field.py",
    ),
    Mutant(
        "effect-without-people",
        f"{EVALUATION}/effect.py",
        "over_people = _variance_of_people(gains_SV.mean(0), weight_VG, names)",
        "over_people = 0.0",
        "tests/evaluation/test_effect.py",
    ),
    Mutant(
        "specialist-for-an-acceleration-nobody-saw",
        "src/dealias/inference/routing.py",
        'if mask.family == "snu" and (not known or mask.nominal in known):',
        'if mask.family == "snu":',
        "tests/inference/test_routing.py",
    ),
    Mutant(
        "finished-stage-of-another-start",
        "src/dealias/runs/stages.py",
        'if then["start"] != now["start"] and not missing:',
        "if False:",
        "tests/runs/test_stages.py",
    ),
    Mutant(
        "public-rule-by-its-offset",
        "src/dealias/data/mask_mixture.py",
        "        if public_rule(mask.lines) is None:",
        "        if mask.offset != mask.width // 2:",
        "tests/data/test_mask_mixture.py",
    ),
    Mutant(
        "copies-at-one-acceleration",
        "src/dealias/data/remask.py",
        "self.accelerations[index % self.copies]",
        "self.accelerations[index // self.copies % self.copies]",
        "tests/data/test_remask.py",
    ),
    Mutant(
        "stale-range-after-augmentation",
        "src/dealias/data/samples.py",
        "self._range(scan, partner) * gain",
        "self._range(scan, partner)",
        "tests/data/test_augment_samples.py",
    ),
    Mutant(
        "warped-the-other-way",
        "src/dealias/physics/warp.py",
        "np.linalg.inv(affine.matrix) @ after",
        "affine.matrix @ after",
        "tests/physics/test_warp.py",
    ),
    Mutant(
        "strength-merged-into-the-stage",
        "src/dealias/recipes/smartify_helper.yaml",
        "{kind: constant, delay: 0, until: null}",
        "{kind: constant}",
        "tests/runs/test_recipes.py",
    ),
    Mutant(
        "base-over-its-recipe",
        "src/dealias/config/compose.py",
        'return {**base, **{key: one for key, one in values.items() if key != "base"}}',
        'return {**{key: one for key, one in values.items() if key != "base"}, **base}',
        "tests/runs/test_recipes.py",
    ),
    Mutant(
        "phase-flip-without-its-mask",
        "src/dealias/inference/flips.py",
        "mask_B11HW=turned(measurement.mask_B11HW),",
        "mask_B11HW=measurement.mask_B11HW,",
        "tests/inference/test_flips.py",
    ),
    Mutant(
        "mixed-range-of-one-volume",
        "src/dealias/data/samples.py",
        "return partner.between(own, other.data_range or _volume_maximum(other))",
        "return own",
        "tests/data/test_mixup.py",
    ),
    Mutant(
        "running-means-of-the-last-batch",
        "src/dealias/training/running.py",
        "value = end + share**count * (value - before)",
        "value = end",
        "tests/training/test_anatomy.py",
    ),
    Mutant(
        "volumes-by-the-slices-votes",
        "src/dealias/evaluation/anatomy.py",
        "return int(self.scores_ZK.sum(0).argmax())",
        "return int(np.bincount(self.slices).argmax())",
        "tests/evaluation/test_anatomy_scores.py",
    ),
    Mutant(
        "features-decoded-raw",
        "src/dealias/evaluation/cascades.py",
        "codec.decode(instance_norm(features), moments)",
        "codec.decode(features, moments)",
        "tests/evaluation/test_cascades.py",
    ),
    Mutant(
        "aliases-beside-the-centre",
        "src/dealias/report/plots.py",
        "return np.arange(size) - size // 2",
        "return np.arange(size) - (size - 1) // 2",
        "tests/report/test_inside.py",
    ),
]
