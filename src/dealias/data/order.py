"""The order of an epoch: which samples share a batch, as a pure function of seed and epoch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from dealias.randomness import generator


def epoch_batches(
    keys: Sequence[Hashable],
    batch_size: int,
    seed: int,
    epoch: int,
    sizes: Sequence[int] | None = None,
) -> list[tuple[int, ...]]:
    """Batches of samples of one shape, in the order in which an epoch sees them.

    Args:
        keys: Each sample's shape; only samples of equal keys share a batch.
        batch_size: Largest batch; the last one of each shape may be smaller.
        seed: The run's seed.
        epoch: Of the run.
        sizes: Elements of each sample. With them the largest batch is the first of epoch 0, so that
            memory that does not suffice shows at once, not after hours.

    Returns:
        Tuples of indices that cover every sample once.
    """
    rng = generator(seed, "order", epoch)
    buckets: dict[Hashable, list[int]] = defaultdict(list)
    for index in rng.permutation(len(keys)):
        buckets[keys[index]].append(int(index))
    batches = [
        tuple(bucket[start : start + batch_size])
        for bucket in buckets.values()
        for start in range(0, len(bucket), batch_size)
    ]
    ordered = [batches[i] for i in rng.permutation(len(batches))]
    if sizes is not None and epoch == 0 and ordered:
        totals = [sum(sizes[index] for index in batch) for batch in ordered]
        ordered.insert(0, ordered.pop(totals.index(max(totals))))
    return ordered
