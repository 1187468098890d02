"""Images as lines, along which what each channel has of its own is fast to apply and to sum.

torch walks through channels-last images pixel by pixel wherever a number for each channel takes
part. As (N, H, WC) the same memory has lines as long as rows are.
"""

from __future__ import annotations

import torch
from torch import Tensor

PARTS, SMALL = 8, 1 << 18
"""Into how many parts an image is split, if it has more numbers than that."""


def is_last(x: Tensor) -> bool:
    """Whether an image (N, C, H, W) lies in memory with its channels last, and not otherwise."""
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def laid_out(x: Tensor, memory_format: torch.memory_format) -> Tensor:
    """An image (N, C, H, W) in a memory format.

    An image of one channel lies in both at once, which convolutions take for contiguous. Here its
    strides say which it is.
    """
    if memory_format == torch.channels_last and x.shape[1] == 1:
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=memory_format)


def laid_out_like(y: Tensor, x: Tensor) -> Tensor:
    """Y in the memory format of x, which takes all that follows along."""
    return laid_out(y, torch.channels_last if is_last(x) else torch.contiguous_format)


def dense(x: Tensor) -> Tensor:
    """The image itself where its channels come last, else contiguous."""
    return x if is_last(x) else x.contiguous()


def lines(x: Tensor, last: bool) -> Tensor:
    """(N, C, H, W) to (N, H, WC) as channels-last memory has it, or (N, C, HW)."""
    if last:
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], x.shape[2], -1)
    return x.reshape(*x.shape[:2], -1)


def image(one: Tensor, shape: torch.Size, last: bool) -> Tensor:
    """Undoes `lines`; shape is the image's."""
    if last:
        return one.reshape(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2)
    return one.reshape(shape)


def mean(one: Tensor, shape: torch.Size, last: bool) -> Tensor:
    """Of each channel of lines, (N, C)."""
    if not last:
        return one.mean(2)
    batch, channels, height, width = shape
    if one.is_cuda:
        return one.reshape(batch, -1, channels).mean(1)
    # torch sums over channels-last pixels slowly; over lines a matrix product does, and as exactly
    weights = one.new_full((1, height), 1 / height).expand(batch, 1, height)
    return torch.bmm(weights, one).reshape(batch, width, channels).mean(1)


def mean_product(one: Tensor, other: Tensor, shape: torch.Size, last: bool) -> Tensor:
    """Of each channel of two images' lines multiplied, (N, C)."""
    height = shape[2]
    rows = -(-height // PARTS) if last and one.numel() > SMALL else height
    if rows == height:
        return mean(one * other, shape, last)
    # nothing as large as the image is made of its products
    (first, second), *rest = zip(
        torch.split(one, rows, 1), torch.split(other, rows, 1), strict=True
    )
    total = first * second
    for a, b in rest:
        total[:, : a.shape[1]].addcmul_(a, b)
    return mean(total, torch.Size((*shape[:2], rows, shape[3])), last) * (rows / height)


def spread(one_NC: Tensor, shape: torch.Size, last: bool) -> Tensor:
    """A number for each channel to what lines can be multiplied by, (N, 1, WC) or (N, C, 1).

    Args:
        one_NC: (N, C), or (1, C) for the same in all items.
        shape: Of the image.
        last: As of `lines`.
    """
    if not last:
        return one_NC.unsqueeze(2)
    batch, channels, _, width = shape
    return one_NC[:, None, None].expand(batch, 1, width, channels).reshape(batch, 1, -1)
