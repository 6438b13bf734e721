"""A classifier two-sample test (Lopez-Paz & Oquab, 2017) and one for covariances.

A linear discriminant learns on one half to tell two samples apart and is judged by its AUC on the
other half, and the other way round; the mean of both AUCs is 0.5 when the samples have one
distribution.  Its p-value comes from learning and judging again with permuted labels, which is
exact for exchangeable rows and any number of rows, dimensions and ties.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
COVARIANCE_DIRECTIONS = 64


@dataclass(frozen=True)
class TwoSample:
    """`auc` in [0, 1] and `covariance` (0: equal), each with what chance alone would give on
    average (`_expected`) and a one-sided p-value."""

    auc: float
    auc_p: float
    covariance: float
    covariance_expected: float
    covariance_p: float


def two_sample(
    reference: Floats, current: Floats, rng: np.random.Generator, permutations: int = 199
) -> TwoSample:
    """Compare samples (n, d) and (m, d) whose rows are independent draws."""
    z = whitened(np.vstack([reference, current]).astype(np.float32))
    label = np.arange(len(z)) >= len(reference)
    aucs = _held_out(z, label, rng, permutations)
    gaps = _covariances(z[:, :COVARIANCE_DIRECTIONS], label, rng, permutations // 2)
    return TwoSample(
        auc=float(aucs[0]),
        auc_p=_p_value(aucs),
        covariance=float(gaps[0]),
        covariance_expected=float(gaps[1:].mean()),
        covariance_p=_p_value(gaps),
    )


def whitened(x: Floats) -> Floats:
    """Principal directions of the pooled rows, strongest first, those of less than average
    strength damped.  The labels are not looked at, so permuting them stays fair.

    All directions are kept: item vectors may have been whitened before, and then what tells two
    samples apart is spread evenly.
    """
    centred = x - x.mean(0)
    strength, directions = np.linalg.eigh(centred.T @ centred / len(x))
    scale = np.sqrt(np.maximum(strength, 0) + strength.mean() + 1e-12)
    found: Floats = centred @ (directions / scale)[:, ::-1]
    return found


def _held_out(z: Floats, label: Flags, rng: np.random.Generator, permutations: int) -> Floats:
    """Mean held-out AUC (1 + permutations,), of the true labels first.

    In whitened space the discriminant is the difference of two means, so that all permutations
    are learned by one product.  Labels are permuted within the halves, which keeps their sizes.
    """
    half = np.zeros(len(z), dtype=bool)
    for value in (False, True):
        half[rng.permutation(np.flatnonzero(label == value))[::2]] = True
    # in random order: items that occur in both samples have equal scores, and their order in the
    # ranking must not be that of the samples
    halves = [rng.permutation(np.flatnonzero(half == value)) for value in (True, False)]
    labels, directions = [], []
    for rows in halves:
        drawn = np.tile(label[rows], (1 + permutations, 1))
        drawn[1:] = rng.permuted(drawn[1:], axis=1)
        size = int(label[rows].sum())
        weights = np.where(drawn, 1 / size, -1 / (len(rows) - size)).astype(np.float32)
        labels.append(drawn)
        directions.append(weights @ z[rows])
    aucs = [_auc(directions[1 - i] @ z[halves[i]].T, labels[i]) for i in (0, 1)]
    mean: Floats = np.mean(aucs, axis=0)
    return mean


def _auc(scores: Floats, label: Flags) -> Floats:
    """AUC per row; equal scores count in the order of the columns."""
    order = np.argsort(scores, axis=1)
    rank = np.take_along_axis(label, order, axis=1) @ np.arange(1.0, scores.shape[1] + 1)
    positive = label.sum(1)
    found: Floats = (rank - positive * (positive + 1) / 2) / (
        positive * (scores.shape[1] - positive)
    )
    return found


def _covariances(z: Floats, label: Flags, rng: np.random.Generator, permutations: int) -> Floats:
    """Distance of the two covariances (1 + permutations,), of the true labels first: Frobenius
    norm of the difference over that of the pooled covariance."""
    # centred per sample, so that a difference of means does not count here too
    z = np.where(label[:, None], z - z[label].mean(0), z - z[~label].mean(0))
    total = z.T @ z
    few = label if 2 * label.sum() <= len(label) else ~label
    size, rest = int(few.sum()), int((~few).sum())
    found = np.empty(1 + permutations)
    for i in range(1 + permutations):
        rows = z[few if i == 0 else rng.choice(len(z), size, replace=False)]
        own = rows.T @ rows
        found[i] = np.linalg.norm(own / size - (total - own) / rest)
    return found / max(float(np.linalg.norm(total / len(z))), 1e-12)


def _p_value(values: Floats) -> float:
    """One-sided, by the normal approximation of the permuted values, which unlike counting them
    can go below one over their number."""
    null = values[1:]
    spread = float(null.std(ddof=1))
    return float(norm.sf((values[0] - null.mean()) / spread)) if spread > 0 else 1.0
