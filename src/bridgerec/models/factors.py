"""Implicit-feedback matrix factorisation by alternating least squares (Hu et al., ICDM 2008)."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bridgerec.progress import track

Floats = NDArray[np.float32]
ENTRIES = 2**22  # numbers in one block of rows, which bounds the memory


def fold_in(rows: sparse.csr_matrix, factors: Floats, alpha: float, reg: float | Floats) -> Floats:
    """The least-squares factors of `rows` (n, items) given those of the items (items, size).

    Solves (Y'Y + alpha * sum_i r_i y_i y_i' + reg I) u = sum_i (1 + alpha r_i) y_i per row, the
    sums over the row's items with strengths r_i; `reg` may differ by row, shape (n,).  Empty rows
    give zeros.
    """
    size, lengths = factors.shape[1], np.diff(rows.indptr)
    base, eye = factors.T @ factors, np.eye(size, dtype=np.float32)
    reg = np.broadcast_to(np.asarray(reg, dtype=np.float32), rows.shape[0])
    result = np.zeros((rows.shape[0], size), dtype=np.float32)
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    start = 0
    while start < len(order):  # rows of similar length together, padded with confidence 0
        longest = lengths[order[start]]
        some = order[start : start + max(1, ENTRIES // max(longest, size) // size)]
        start += len(some)
        place = np.arange(longest)
        real = place < lengths[some, None]
        entry = np.where(real, rows.indptr[some, None] + place, 0)
        y, confidence = factors[rows.indices[entry]], alpha * rows.data[entry] * real
        left = base + reg[some, None, None] * eye + (y * confidence[:, :, None]).mT @ y
        right = (real + confidence)[:, None, :] @ y
        result[some] = np.linalg.solve(left, right.mT)[:, :, 0]
    return result


def scaled(rows: sparse.csr_matrix, alpha: float, reg: float, power: float) -> Floats:
    """A regularisation per row that grows with its confidence (Rendle et al., RecSys 2022).

    `reg` for a row without entries; the confidence of all columns is their number plus
    `alpha` times the row's strengths.
    """
    strength = np.asarray(rows.sum(axis=1), dtype=np.float32).ravel()
    return np.float32(reg) * (1 + np.float32(alpha / rows.shape[1]) * strength) ** np.float32(power)


def factorise(
    rows: sparse.csr_matrix,
    size: int,
    iterations: int,
    alpha: float,
    reg: float,
    seed: int,
    reg_power: float = 0.0,
) -> Floats:
    """Item factors, shape (items, size), of a matrix (people, items) of strengths."""
    rng = np.random.default_rng(seed)
    items = rng.normal(0, 0.1, (rows.shape[1], size)).astype(np.float32)
    columns = rows.T.tocsr()
    people_reg, item_reg = (scaled(x, alpha, reg, reg_power) for x in (rows, columns))
    for _ in track(range(iterations), "iterations", inner=True):
        people = fold_in(rows, items, alpha, people_reg)
        items = fold_in(columns, people, alpha, item_reg)
    return items
