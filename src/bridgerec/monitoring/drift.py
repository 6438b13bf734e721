"""Have the item vectors drifted?  A classifier two-sample test (Lopez-Paz & Oquab, 2017).

A logistic regression learns, on one half of both samples, to tell them apart; its AUC on the
other half is 0.5 when the samples have one distribution.  The halves are disjoint, so the AUC's
p-value is that of the Mann-Whitney test and needs no permutations.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
DIRECTIONS = 64  # principal directions that the classifier sees
MIN_AUC = 0.55  # less is no drift that anybody would notice, however sure


@dataclass(frozen=True)
class VectorDrift:
    """`auc` in [0, 1] (0.5: alike) with its p-value; `centroid_shift` is 1 - cosine of means."""

    auc: float
    p_value: float
    centroid_shift: float
    reference_rows: int
    current_rows: int
    drift: bool


def vector_drift(
    reference: Floats,
    current: Floats,
    confidence: float = 0.95,
    seed: int = 0,
    max_rows: int = 5000,
) -> VectorDrift:
    """Compare samples (n, d) and (m, d) whose rows are independent draws.

    At most `max_rows` rows of each are used, drawn under `seed`.

    Raises:
        ValueError: a sample has fewer than 10 rows, or the sizes d differ.
    """
    if min(len(reference), len(current)) < 10 or reference.shape[1] != current.shape[1]:
        raise ValueError(
            f"two samples of at least 10 rows and equal width are needed, not shapes "
            f"{reference.shape} and {current.shape}"
        )
    rng = np.random.default_rng(seed)
    one, other = (_sample(x, max_rows, rng) for x in (reference, current))
    auc, p_value = _two_sample(_project(np.vstack([one, other])), len(one), rng)
    a, b = one.mean(0), other.mean(0)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return VectorDrift(
        auc=auc,
        p_value=p_value,
        centroid_shift=float(1 - a @ b / norms) if norms > 0 else 0.0,
        reference_rows=len(one),
        current_rows=len(other),
        drift=p_value < 1 - confidence and auc >= MIN_AUC,
    )


def _sample(x: Floats, size: int, rng: np.random.Generator) -> Floats:
    return x[rng.permutation(len(x))[:size]].astype(np.float64)


def _project(x: Floats) -> Floats:
    """Principal directions of the pooled sample: it does not know the labels, so it is fair."""
    centred = x - x.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    found: Floats = centred @ directions[:, ::-1][:, :DIRECTIONS]
    found /= found.std() + 1e-12
    return found


def _two_sample(x: Floats, n_reference: int, rng: np.random.Generator) -> tuple[float, float]:
    """AUC on the held-out half and its one-sided p-value."""
    from scipy.stats import norm, rankdata
    from sklearn.linear_model import LogisticRegression

    label = np.arange(len(x)) >= n_reference
    half = np.zeros(len(x), dtype=bool)
    for value in (False, True):  # halves of both samples
        rows = np.flatnonzero(label == value)
        half[rng.permutation(rows)[: len(rows) // 2]] = True
    model = LogisticRegression(C=1.0, max_iter=200, class_weight="balanced")
    scores = model.fit(x[half], label[half]).decision_function(x[~half])
    truth = label[~half]
    n, m = int((~truth).sum()), int(truth.sum())
    auc = (rankdata(scores)[truth].sum() - m * (m + 1) / 2) / (n * m)
    deviation = np.sqrt((n + m + 1) / (12 * n * m))
    return float(auc), float(norm.sf((auc - 0.5) / deviation))
