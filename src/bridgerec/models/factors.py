"""Implicit-feedback matrix factorisation by alternating least squares (Hu et al., ICDM 2008)."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]


def fold_in(rows: sparse.csr_matrix, factors: Floats, alpha: float, reg: float) -> Floats:
    """The least-squares factors of `rows` (n, items) given those of the items (items, size).

    Solves (Y'Y + alpha * sum_i r_i y_i y_i' + reg I) u = sum_i (1 + alpha r_i) y_i per row, the
    sums over the row's items with strengths r_i.  Empty rows give zeros.
    """
    size = factors.shape[1]
    base = factors.T @ factors + reg * np.eye(size, dtype=np.float32)
    result = np.zeros((rows.shape[0], size), dtype=np.float32)
    for start in range(0, rows.shape[0], 256):
        part = rows[start : start + 256]
        filled = np.flatnonzero(np.diff(part.indptr))
        if not len(filled):
            continue
        y, confidence = factors[part.indices], alpha * part.data[:, None]
        begin = part.indptr[filled]
        outer = np.add.reduceat((confidence * y)[:, :, None] * y[:, None, :], begin, axis=0)
        right = np.add.reduceat((1 + confidence) * y, begin, axis=0)
        result[start + filled] = np.linalg.solve(base + outer, right[:, :, None])[:, :, 0]
    return result


def factorise(
    rows: sparse.csr_matrix, size: int, iterations: int, alpha: float, reg: float, seed: int
) -> Floats:
    """Item factors, shape (items, size), of a matrix (people, items) of strengths."""
    rng = np.random.default_rng(seed)
    items = rng.normal(0, 0.1, (rows.shape[1], size)).astype(np.float32)
    columns = rows.T.tocsr()
    for _ in range(iterations):
        people = fold_in(rows, items, alpha, reg)
        items = fold_in(columns, people, alpha, reg)
    return items
