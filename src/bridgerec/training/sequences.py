"""Histories as padded batches."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Histories


def padded(histories: Histories, length: int) -> NDArray[np.int64]:
    """The newest `length` items of each row, shape (batch, length), right-aligned, -1 before."""
    recent = histories.last(length)
    table = np.full((len(histories), length), -1, dtype=np.int64)
    table[recent.rows, length - 1 - recent.age] = recent.items
    return table


def batches(n: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """A random order of 0..n-1 in pieces of `size`."""
    order = rng.permutation(n)
    for start in range(0, n, size):
        yield order[start : start + size]
