"""Stable orders of many million integers, by counting.

A sparse matrix with one entry per row of a table, in that row's column, lists by its own rows the
table's rows ordered by key.  scipy converts between the two by counting, in one pass, several times
faster than numpy sorts; a key of many bits takes a pass per digit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

_FEW_RUNS = 64
_DIGIT = 20  # bits; more counters would fall out of the processor's cache

Order = NDArray[np.integer[Any]]


def stable_order(*keys: NDArray[np.integer[Any]]) -> Order:
    """The permutation that sorts by the first key, then the second, …; equal rows keep theirs.

    Least significant digit first.  Keys are integers of shape (n,); the order is of 32 bits where
    they suffice.
    """
    n = len(keys[0])
    kind = np.int32 if n < 2**31 else np.int64
    order: Order | None = None
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
        for number in range(passes):
            digit = key if order is None else key[order]
            if low != 0:
                digit = np.subtract(digit, low, dtype=np.int64)
            if passes > 1:
                digit = (digit >> number * width) & ((1 << width) - 1)
            order = _count(digit.astype(kind, copy=False), 1 << width, order)
    return np.arange(n, dtype=kind) if order is None else order


def _count(digit: Order, size: int, order: Order | None) -> Order:
    """`order` (None: the rows as they are) stably sorted by `digit`, which is below `size`."""
    n = len(digit)
    values = np.zeros(n, dtype=np.int8) if order is None else order
    starts = np.arange(n + 1, dtype=digit.dtype)
    found = csc_array((values, digit, starts), shape=(size, n), copy=False).tocsr()
    sorted_rows: Order = found.indices if order is None else found.data
    return sorted_rows
