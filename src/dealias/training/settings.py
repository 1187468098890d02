"""Settings of the training loop."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """The loop.

    Attributes:
        epochs: Passes over the training slices.
        batch_size: Slices of one shape run at once.
        accumulation: Batches whose gradients make one step, as one large batch would; on each
            rank, so that a step is of batch_size x accumulation x ranks slices.
        clip_norm: Largest L2 norm of the gradient, or None.
        ema: Share that each step keeps of a moving average of the weights, which then is what is
            validated and what the model file holds; None for the weights themselves.
        precision: Of the denoisers' convolutions; the physics stays float32.
        compile: Whether torch.compile makes code for the denoisers, where it can.
        tf32: Whether a GPU may round the factors of float32 products to 10 bits of mantissa.
        workers: Processes that read data; any number gives the same run.
        seed: Of everything random.
        validate_every: Epochs between validations; the last epoch is always validated.
        save_minutes: Minutes between checkpoints within an epoch, or None for epochs alone.
        keep_last: Newest checkpoints kept, beside the best.
        bad_step_limit: Steps in a row without finite loss and gradient before training stops.
        threads: CPU threads, or None for torch's own choice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=1, ge=1)
    accumulation: int = Field(default=1, ge=1)
    clip_norm: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
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
