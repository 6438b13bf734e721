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


def times(histories: Histories, length: int) -> NDArray[np.int64]:
    """When the entries of `padded` were, (batch, length), never falling; before the oldest its
    time.  Entries without a time are dated by the question."""
    found = np.zeros((len(histories), length), dtype=np.int64)
    if histories.timestamp is None:
        found[:] = histories.moment[:, None]
        return found
    found[:] = np.iinfo(np.int64).min
    recent = histories.last(length)
    assert recent.timestamp is not None
    filled = recent.lengths > 0
    found[filled] = recent.timestamp[recent.indptr[:-1][filled], None]
    found[recent.rows, length - 1 - recent.age] = recent.timestamp
    return np.maximum.accumulate(found, axis=1)


def moments(
    histories: Histories, length: int, timed: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """When each place of `padded` is asked for: right after the entry before, or (`timed`) at any
    time between that one and its own."""
    time = times(histories, length)
    before = np.hstack([time[:, :1], time[:, :-1]])
    if timed:
        before = before + ((time - before) * rng.random(time.shape)).astype(np.int64)
    return before


def batches(n: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """A random order of 0..n-1 in pieces of `size`."""
    order = rng.permutation(n)
    for start in range(0, n, size):
        yield order[start : start + size]
