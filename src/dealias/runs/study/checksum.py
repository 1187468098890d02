"""A tensor's bits in one number, on the device where it is."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1 << 20
"""Words at once: the memory that it takes beside the tensor, eightfold."""
_ODD = -7046029254386353131
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def checksum(tensor: Tensor) -> Tensor:
    """A 64-bit number of a tensor's bits and their places; NaNs count by their bits, too.

    Sums of integers are the same in any order, so that the number is, on a GPU as well. One word
    that differs always shows; of more the chance to miss it is about 2^-64.

    Args:
        tensor: Of any dtype and layout; it is read without gradients.

    Returns:
        () int64 on the same device, not yet waited for.
    """
    plain = tensor.detach()
    plain = torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain.resolve_neg()
    words = plain.contiguous().flatten().view(_WORDS[plain.element_size()])
    total = torch.zeros((), dtype=torch.int64, device=words.device)
    for start in range(0, words.numel(), CHUNK):
        part = words[start : start + CHUNK].long()
        place = torch.arange(start, start + part.numel(), device=words.device)
        mixed = (part + 1) * ((2 * place + 1) * _ODD)
        total += (mixed ^ (mixed >> 32)).sum()
    return total
