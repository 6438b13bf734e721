"""Stable orders of many million integers, by counting.

A sparse matrix with one entry per row of a table, in that row's column, lists by its own rows the
table's rows ordered by key.  scipy converts between the two by counting, in one pass, several times
faster than numpy sorts; a key of many bits takes a pass per digit.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

_FEW_RUNS = 64
_SLICE = 1 << 16
_DIGIT = 20  # bits; more counters would fall out of the processor's cache

Value = TypeVar("Value", bound=np.generic)


def slices(n: int) -> Iterator[slice]:
    """0 … n in pieces whose intermediate arrays stay in the processor's cache."""
    for start in range(0, n, _SLICE):
        yield slice(start, min(start + _SLICE, n))


def at(values: NDArray[Value], rows: NDArray[np.integer[Any]]) -> NDArray[Value]:
    """`values[rows]` of rows that exist, in half the time: numpy need not look for others."""
    found = np.empty(len(rows), dtype=values.dtype)
    for part in slices(len(rows)):
        values.take(rows[part].astype(np.int64, copy=False), out=found[part], mode="clip")
    return found


def stable_order(*keys: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """The permutation that sorts by the first key, then the second, …; equal rows keep theirs.

    Least significant digit first.  Keys are integers of shape (n,); so is the answer, of 32 bits
    where they are enough.
    """
    n = len(keys[0])
    kind = np.int32 if n < 2**31 else np.int64
    order: NDArray[np.integer[Any]] | None = None
    for key in reversed(keys):
        if n == 0:
            break
        if order is None and np.count_nonzero(key[1:] < key[:-1]) < _FEW_RUNS:
            # logs in time order: merged run by run
            order = np.argsort(key, kind="stable").astype(kind)
            continue
        low = int(key.min())
        bits = (int(key.max()) - low).bit_length()
        passes = -(-bits // min(_DIGIT, n.bit_length() + 4))
        width = -(-bits // max(passes, 1))
        if low != 0:
            key = np.subtract(key, low, dtype=np.int64)
        if bits < 32:
            key = key.astype(np.int32, copy=False)  # half the memory to go through in each pass
        for number in range(passes):
            digit = key if order is None else at(key, order)
            if passes > 1:
                digit = (digit >> number * width) & ((1 << width) - 1)
            order = _count(digit.astype(kind, copy=False), 1 << width, order)
    return np.arange(n, dtype=kind) if order is None else order


def _count(
    digit: NDArray[np.integer[Any]], size: int, order: NDArray[np.integer[Any]] | None
) -> NDArray[np.integer[Any]]:
    """`order` (None: the rows as they are) stably sorted by `digit`, which is below `size`."""
    n = len(digit)
    values = np.zeros(n, dtype=np.int8) if order is None else order
    starts = np.arange(n + 1, dtype=digit.dtype)
    found = csc_array((values, digit, starts), shape=(size, n), copy=False).tocsr()
    rows: NDArray[np.integer[Any]] = found.indices if order is None else found.data
    return rows
