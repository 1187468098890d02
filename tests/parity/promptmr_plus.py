"""PromptMR+, both of its forms. Needs einops; without checkpointing, whose gradients are wrong.

The image's form runs at commit 0dd8ce58 and before: later ones ask a cascade for a number of
buffers that it does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from compare import Case, main
from promptmr import MASK, SMALL, UNEVEN, given, shape, sizes
from torch import Tensor, nn

from dealias.models.promptmr_plus import BUFFERS, PromptMRPlusSettings
from dealias.models.published.promptmr import IMAGE_STATE, KSPACE_STATE
from dealias.physics.sampling.mask import SamplingMask

PUBLISHED = {"image": IMAGE_STATE, "kspace": KSPACE_STATE}
MORE: dict[str, dict[str, Any]] = {
    "slices": {**UNEVEN, "history": 2, "learn_prompts": True},
    "bare": {**SMALL, "history": 0, "adaptive_input": False, "reduction": None},
    "alone": {**UNEVEN, "cascades": 3, "history": 1, "sens_adjacent": False},
}
"""Switches of both forms."""


def switches(settings: PromptMRPlusSettings) -> dict[str, Any]:
    """What PromptMR+ has beside PromptMR's sizes."""
    return {
        "learnable_prompt": settings.learn_prompts, "adaptive_input": settings.adaptive_input,
        "n_buffer": BUFFERS if settings.adaptive_input else 0, "n_history": settings.history,
        "use_sens_adj": settings.sens_adjacent,
    }  # fmt: skip


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """The centre slices (B, H, W)."""
    return network(*given(kspace, mask), torch.tensor([mask.acs_count]))["img_pred"]


def cases() -> Sequence[Case]:
    """All switches in both forms; the published size in one, as both have the same denoisers."""
    from models import promptmr, promptmr_v2

    forms = {"image": promptmr_v2.PromptMR, "kspace": promptmr.PromptMR}

    def maker(settings: PromptMRPlusSettings) -> Callable[[], nn.Module]:
        return lambda: forms[settings.state](**sizes(settings), **switches(settings))

    def case(form: str, name: str, settings: PromptMRPlusSettings) -> Case:
        name = f"promptmr-plus-{form}-{name}"
        batch = 1 + name.endswith("slices")
        return Case(name, settings, PUBLISHED[form], maker(settings), call, shape(settings, batch),
                    MASK, kept=100)  # fmt: skip

    return [
        case(form, name, PromptMRPlusSettings(state=form, **changes))
        for form in forms
        for name, changes in ({**MORE, "published": {}} if form == "image" else MORE).items()
    ]


if __name__ == "__main__":
    main("hellopipu/PromptMR-plus", cases)
