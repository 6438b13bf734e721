"""Histories as padded batches."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Histories


def padded(
    histories: Histories, length: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Items as a table with -1 where there is none, and their strengths, 0 there.

    With a `length` its newest items right-aligned, shape (batch, length); without one all of
    them left-aligned, oldest first, shape (batch, longest).
    """
    recent = histories if length is None else histories.last(length)
    width = max(1, int(recent.lengths.max(initial=0))) if length is None else length
    table = np.full((len(recent), width), -1, dtype=np.int64)
    strength = np.zeros(table.shape, dtype=np.float32)
    end = width if length is not None else recent.lengths[recent.rows]
    place = recent.rows, end - 1 - recent.age
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


def batches(
    n: int, size: int, rng: np.random.Generator, lengths: NDArray[np.int64] | None = None
) -> Iterator[NDArray[np.int64]]:
    """A random order of 0..n-1 in pieces of `size`; with `lengths` (n,) rows of similar length
    together, the pieces in random order."""
    if lengths is None:
        order = rng.permutation(n)
        turn = np.arange(-(-n // size))
    else:
        order = np.argsort(lengths + rng.random(n), kind="stable")
        turn = rng.permutation(-(-n // size))
    for number in turn.tolist():
        yield order[number * size : (number + 1) * size]
