"""What the readout crop costs in quality and saves in time, on simulated brains and knees.

    python tools/readout_crop.py --out readout-crop --page docs/results.md

Trains the same small E2E-VarNet with and without the crop, from the same weights, on the same
slices in the same order through the same masks, and judges it on other people. Prints
docs/results.md's table, and with --page puts it there. A study that was stopped goes on where it
was: finished trainings lie in OUT/results.jsonl. `--quick` shows in a minute that it works.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from crop_table import RATES, Margin, Trained, put, said, table

from dealias.config.compose import load_recipe
from dealias.config.schema import Recipe
from dealias.data.catalogue import open_split
from dealias.data.simulate import (
    CHALLENGE_HW,
    CHALLENGE_TARGET,
    SimulateSettings,
    make_volume,
    plan,
)
from dealias.errors import DataError
from dealias.evaluation.scores import Scores, summarise
from dealias.inference.reconstruct import reconstruct
from dealias.io.write_snu import write_snu
from dealias.metrics.protocol import protocol_named
from dealias.models.network import Network
from dealias.models.table import build_network
from dealias.physics.sampling.snu import snu_mask
from dealias.randomness import torch_seed
from dealias.runs.rehearsal import largest_batch, train_once
from dealias.scan.measurement import Needs
from dealias.scan.scan import Cell, Scan
from dealias.training.loop import TrainingJob, train

CPU = torch.device("cpu")
ANATOMIES = ("brain", "knee")
ROUNDS = 40


@dataclass(frozen=True)
class Study:
    """What decides the numbers, but for margin and seed.

    Attributes:
        shrink: The challenge's sizes of k-space and target are divided by it.
        train: People to learn from, and `test` to judge on.
        slices: Of each person.
        coils: C.
        epochs: Of the training slices; each slice is one step.
    """

    shrink: int = 4
    train: int = 12
    test: int = 6
    slices: int = 4
    coils: int = 4
    snr: float = 30.0
    epochs: int = 5
    cascades: int = 4
    channels: int = 8

    def sizes(self, anatomy: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """Encoded and target (H, W)."""
        (rows, columns), (height, width) = CHALLENGE_HW[anatomy], CHALLENGE_TARGET
        n = self.shrink
        return (rows // n, columns // n), (height // n, width // n)

    def recipe(self, margin: Margin, seed: int) -> Recipe:
        """The demo's, with this network."""
        crop = "null" if margin is None else margin
        return load_recipe("demo", [
            f"network.readout_crop={crop}", f"network.cascades={self.cascades}",
            f"network.channels={self.channels}", f"training.epochs={self.epochs}",
            f"training.seed={seed}", "training.threads=1", "training.clip_norm=1.0",
            "training.save_minutes=null", "masks.each_acceleration=false",
        ])  # fmt: skip


def simulated(study: Study, anatomy: str, folder: Path) -> Path:
    """The data set of one anatomy: made once, in the challenge's layout."""
    data = folder / anatomy
    if data.is_dir():
        return data
    encoded_hw, target_hw = study.sizes(anatomy)
    settings = SimulateSettings(
        accelerations=(4,), subjects=study.train + study.test, shares=(study.train, study.test, 0),
        slices=study.slices, coils=study.coils, size=encoded_hw, target=target_hw, snr=study.snr,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        for item in plan(settings):
            if item.anatomy == anatomy:
                write_snu(Path(unfinished) / anatomy, item.split, make_volume(settings, item))
        (Path(unfinished) / anatomy).rename(data)
    return data


def trained(study: Study, data: Path, anatomy: str, margin: Margin, seed: int) -> Trained:
    """Train, and judge the last weights."""
    recipe = study.recipe(margin, seed)
    torch.manual_seed(torch_seed(seed, "weights"))
    network = build_network(recipe.network)
    with tempfile.TemporaryDirectory() as folder:
        train(
            TrainingJob(
                network, recipe.masks, recipe.loss, recipe.optimiser, recipe.schedule,
                recipe.training, open_split(data, "train"), (), protocol_named(recipe.protocol),
                Path(folder), CPU,
            )
        )  # fmt: skip
    return Trained(anatomy, margin, seed, judged(network, open_split(data, "val"), recipe))


def judged(network: Network, scans: Sequence[Scan], recipe: Recipe) -> Scores:
    """Scores of every scan at every acceleration, by the recipe's protocol."""
    network.eval()
    protocol, volumes = protocol_named(recipe.protocol), []
    for scan in scans:
        for rate in RATES:
            mask = snu_mask(scan.shape[3], rate)
            seen = replace(scan, cell=Cell(scan.cell.anatomy if scan.cell else "", rate))
            volumes.append(protocol.score(reconstruct(network, seen, mask=mask).image_ZHW, seen))
    return summarise(protocol, volumes)


def ran(
    study: Study, margins: Sequence[Margin], seeds: Sequence[int], out: Path
) -> Iterator[Trained]:
    """Every training of the study, the finished ones read; seed by seed, margins side by side."""
    out.mkdir(parents=True, exist_ok=True)
    known = {one.key: one for one in read(study, out / "results.jsonl")}
    for seed in seeds:
        for anatomy in ANATOMIES:
            data = simulated(study, anatomy, out)
            for margin in margins:
                one = known.get((anatomy, margin, seed))
                if one is None:
                    one = trained(study, data, anatomy, margin, seed)
                    append(study, out / "results.jsonl", one)
                print(f"seed {seed}, {anatomy}, margin {said(margin)}: SSIM {one.scores.total:.4f}",
                      flush=True)  # fmt: skip
                yield one


def step_seconds(study: Study, data: Path, margins: Sequence[Margin]) -> dict[Margin, float]:
    """CPU seconds of one slice forward and backward: the fastest of many, margins side by side."""
    calls = {}
    for margin in margins:
        recipe = study.recipe(margin, 0)
        network = build_network(recipe.network).train()
        batch = largest_batch(recipe, network, open_split(data, "train"))
        calls[margin] = partial(train_once, network, batch, recipe.loss, CPU)
    found = dict.fromkeys(margins, math.inf)
    for _ in range(ROUNDS):
        for margin, call in calls.items():
            began = time.process_time()
            call()
            found[margin] = min(found[margin], time.process_time() - began)
    return found


def append(study: Study, path: Path, one: Trained) -> None:
    """Add a finished training, on a line of its own whatever a killed study left."""
    row = {**asdict(one), "scores": one.scores.to_json(), "study": asdict(study)}
    with path.open("a") as file:
        file.write(f"\n{json.dumps(row)}\n")
        file.flush()
        os.fsync(file.fileno())


def read(study: Study, path: Path) -> list[Trained]:
    """The finished trainings.

    Raises:
        DataError: They are of another study.
    """
    found = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue  # blank, or half written when it was killed: that training is run again
        if row.pop("study") != asdict(study):
            raise DataError(path, "results of another study", "this one's", "choose another --out")
        found.append(Trained(**{**row, "scores": Scores.from_json(row["scores"], path)}))
    return found


def planned(quick: bool) -> tuple[Study, tuple[Margin, ...], range]:
    """Study, margins and seeds."""
    if quick:
        small = Study(shrink=8, train=2, test=2, slices=2, coils=3, epochs=1, cascades=2)
        return small, (None, 0), range(2)
    return Study(), (None, 0, 4, 8, 16), range(3)


def main() -> None:
    """Run what is left, print, and put the table on the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="data and finished trainings")
    parser.add_argument("--page", type=Path, help="where to put the table, between its marks")
    parser.add_argument("--quick", action="store_true", help="a minute, to see that it works")
    arguments = parser.parse_args()
    study, margins, seeds = planned(arguments.quick)
    torch.set_num_threads(1)
    found = list(ran(study, margins, seeds, arguments.out))
    rows, seconds = {}, {}
    for anatomy in ANATOMIES:
        (encoded, _), (target, _) = study.sizes(anatomy)
        times = step_seconds(study, simulated(study, anatomy, arguments.out), margins)
        for margin in margins:
            start, stop = Needs(readout_crop=margin).rows(encoded, target)
            rows[anatomy, margin], seconds[anatomy, margin] = stop - start, times[margin]
    text = table(found, rows, seconds)
    print(text)
    if arguments.page is not None:
        put(arguments.page, text)


if __name__ == "__main__":
    main()
