"""Stable orders of many million integers: a radix sort out of scipy's sparse transposition."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_DIGIT_BITS = 20  # more buckets than that fall out of the processor's cache
_FEW_RUNS = 64


def stable_order(*keys: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """The permutation that sorts by the first key, then the second, …; equal rows keep theirs.

    Least significant digit first.  Keys are integers of shape (n,).
    """
    order: NDArray[np.integer[Any]] | None = None
    for key in reversed(keys):
        if len(key) == 0:
            continue
        if order is None and np.count_nonzero(key[1:] < key[:-1]) < _FEW_RUNS:
            order = np.argsort(key, kind="stable")  # logs in time order: merged run by run
            continue
        low = int(key.min())
        bits = (int(key.max()) - low).bit_length()
        passes = -(-bits // _DIGIT_BITS)
        if bits < 32:
            key = (key - low).astype(np.uint32)
        else:
            key = key - low
        for number in range(passes):
            width = -(-bits // passes)
            digit = (key >> (number * width)) & ((1 << width) - 1) if passes > 1 else key
            step = _counting_order(digit if order is None else digit[order], 1 << width)
            order = step if order is None else order[step]
    return np.arange(len(keys[0])) if order is None else order


def _counting_order(digit: NDArray[np.integer[Any]], size: int) -> NDArray[np.integer[Any]]:
    """One counting sort, as the transposition of a sparse matrix with one entry per row."""
    n = len(digit)
    kind = np.int32 if n < 2**31 else np.int64
    rows = sparse.csr_array(
        (np.empty(n, dtype=np.int8), digit.astype(kind, copy=False), np.arange(n + 1, dtype=kind)),
        shape=(n, size),
    )
    order: NDArray[np.integer[Any]] = rows.tocsc().indices
    return order
