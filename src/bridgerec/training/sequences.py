"""Histories as padded batches."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Histories


def padded(histories: Histories, length: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The newest `length` items of each row, shape (batch, length), right-aligned, -1 before;
    and their strengths, 0 before."""
    recent = histories.last(length)
    table = np.full((len(histories), length), -1, dtype=np.int64)
    strength = np.zeros(table.shape, dtype=np.float32)
    place = recent.rows, length - 1 - recent.age
    table[place], strength[place] = recent.items, recent.strength
    return table, strength


def batches(n: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """A random order of 0..n-1 in pieces of `size`."""
    order = rng.permutation(n)
    for start in range(0, n, size):
        yield order[start : start + size]
