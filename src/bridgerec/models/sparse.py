"""Histories as sparse matrices, and sparse matrices as named arrays."""

from typing import Any

import numpy as np
from scipy import sparse

from bridgerec.data.dataset import Histories
from bridgerec.models.base import Arrays


def matrix(histories: Histories, n_items: int, recency: float = 1.0, weighted: bool = False) -> Any:
    """CSR (batch, n_items): 1 per history item, times `recency` for every newer entry.

    `weighted`: its strength, relative to the mean, instead of 1.  For training; a history to be
    answered counts what a person met, whatever the kind of event, because requests need not tell.
    """
    values = np.power(np.float32(recency), histories.age.astype(np.float32))
    if weighted:
        values *= histories.strength / histories.strength.mean()
    shape = (len(histories), n_items)
    # copied: sum_duplicates sorts in place, and the history must keep its order
    found = sparse.csr_matrix((values, histories.items.copy(), histories.indptr), shape=shape)
    found.sum_duplicates()
    return found


def entries(histories: Histories, n_items: int, recency: float = 1.0) -> Any:
    """CSR (total length, n_items): every history entry in a row of its own, as in `matrix`."""
    values = np.power(np.float32(recency), histories.age.astype(np.float32))
    shape = (len(values), n_items)
    return sparse.csr_matrix((values, histories.items, np.arange(len(values) + 1)), shape=shape)


def pack(name: str, found: Any) -> Arrays:
    """CSR to arrays NAME.indptr, NAME.indices, NAME.data, NAME.shape."""
    return {
        f"{name}.indptr": found.indptr.astype(np.int64),
        f"{name}.indices": found.indices.astype(np.int32),
        f"{name}.data": found.data.astype(np.float32),
        f"{name}.shape": np.array(found.shape, dtype=np.int64),
    }


def unpack(name: str, arrays: Arrays) -> Any:
    """The inverse of `pack`."""
    parts = (arrays[f"{name}.{p}"] for p in ("data", "indices", "indptr"))
    return sparse.csr_matrix(tuple(parts), shape=tuple(arrays[f"{name}.shape"]))
