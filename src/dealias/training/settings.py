"""Settings of the training loop."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dealias.training.accumulation import Accumulation
from dealias.training.averaging import AverageSettings
from dealias.training.early import EarlyStop


class TrainingSettings(BaseModel):
    """The loop.

    Attributes:
        epochs: Passes over the training slices.
        batch_size: Slices of one shape run at once.
        accumulation: Batches whose gradients make one step, as one large batch would; on each
            rank, so that a step is of batch_size x accumulation x ranks slices. Either a number or
            pairs [epoch from which, number], such as [[0, 2], [5, 10]].
        clip_norm: Largest L2 norm of the gradient, or None.
        average: Of the weights, which then is what is validated and what the model file holds;
            None for the weights themselves. `ema: 0.999` is short for
            `average: {kind: ema, decay: 0.999}`.
        early_stop: Pairs [epochs, total]: the run ends where no validation has reached the total
            by then.
        precision: Of the denoisers' convolutions; the physics stays float32.
        compile: Whether torch.compile makes code for the denoisers, where it can.
        tf32: Whether a GPU may round the factors of float32 products to 10 bits of mantissa.
        workers: Processes that read data; any number gives the same run.
        seed: Of everything random.
        validate_every: Epochs between validations; the last epoch and those of `early_stop` are
            always validated.
        save_minutes: Minutes between checkpoints within an epoch, or None for epochs alone.
        keep_last: Newest checkpoints kept, beside the best.
        bad_step_limit: Steps in a row without finite loss and gradient before training stops.
        threads: CPU threads, or None for torch's own choice.
        tensorboard: Whether the rows of metrics.jsonl are written as TensorBoard's events as well,
            where tensorboard is installed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=1, ge=1)
    accumulation: Accumulation = 1
    clip_norm: float | None = Field(default=None, gt=0)
    average: AverageSettings | None = None
    early_stop: EarlyStop = ()
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    tf32: bool = False
    workers: int = Field(default=0, ge=0, le=64)
    seed: int = Field(default=430, ge=0)
    validate_every: int = Field(default=1, ge=1)
    save_minutes: float | None = Field(default=10.0, gt=0)
    keep_last: int = Field(default=2, ge=2)
    bad_step_limit: int = Field(default=3, ge=1)
    threads: int | None = Field(default=None, ge=1)
    tensorboard: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_ema(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "ema" not in values:
            return values
        decay, rest = values["ema"], {key: one for key, one in values.items() if key != "ema"}
        average = rest.get("average")
        kind = average.get("kind", "ema") if isinstance(average, dict) else "ema"
        if kind != "ema":
            raise ValueError(f"ema={decay} beside an average of kind {kind}; set one of them")
        return {**rest, "average": None if decay is None else {"kind": "ema", "decay": decay}}

    def validates(self, epoch: int) -> bool:
        """Whether an epoch, from 0, ends with a validation."""
        done = epoch + 1
        always = {self.epochs, *(by for by, _ in self.early_stop)}
        return done in always or done % self.validate_every == 0
