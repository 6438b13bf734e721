"""Stable orders of many million integers, out of numpy's plain sort.

numpy sorts 64-bit numbers with vector instructions, several times faster than it finds the order
that would sort them.  So the order goes into the numbers: a digit of the key in the high bits,
the row in the low ones.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEW_RUNS = 64


def stable_order(*keys: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The permutation that sorts by the first key, then the second, …; equal rows keep theirs.

    Least significant digit first.  Keys are integers of shape (n,).
    """
    n = len(keys[0])
    row_bits = n.bit_length()
    order: NDArray[np.int64] | None = None
    for key in reversed(keys):
        if n == 0:
            break
        if order is None and np.count_nonzero(key[1:] < key[:-1]) < _FEW_RUNS:
            order = np.argsort(key, kind="stable")  # logs in time order: merged run by run
            continue
        low = int(key.min())
        bits = (int(key.max()) - low).bit_length()
        for shift in range(0, bits, 64 - row_bits):
            digit = np.subtract(key if order is None else key[order], low, dtype=np.int64)
            step = _order(digit.view(np.uint64) >> np.uint64(shift), row_bits)
            order = step if order is None else order[step]
    return np.arange(n) if order is None else order


def _order(digit: NDArray[np.uint64], row_bits: int) -> NDArray[np.int64]:
    """The stable order of the low 64 - row_bits bits; overwrites `digit`."""
    digit <<= np.uint64(row_bits)
    digit |= np.arange(len(digit), dtype=np.uint64)
    digit.sort()
    digit &= np.uint64((1 << row_bits) - 1)
    return digit.view(np.int64)
