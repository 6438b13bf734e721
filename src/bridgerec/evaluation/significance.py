"""Intervals and comparisons by a paired bootstrap over people."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Mean of a - b with its interval, two-sided p-value, and Cohen's d of the pairs."""

    mean: float
    low: float
    high: float
    p_value: float
    effect: float


class Bootstrap:
    """Resamples of n people, shared by everything that is compared (hence paired).

    Efron & Tibshirani (1993), percentile intervals; weights are multinomial counts.
    """

    def __init__(self, n: int, resamples: int, confidence: float, seed: int) -> None:
        drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)
        # by person: subsets of people are then copied row by row
        self.weights = drawn.astype(np.float32, order="F")
        tail = (1 - confidence) / 2
        self.quantiles = (tail, 1 - tail)

    def means(self, values: Floats, member: NDArray[np.bool_]) -> Floats:
        """Resampled means of the members' columns, (resamples, columns); `values` (n, columns)."""
        weights = self.weights if member.all() else self.weights[:, member]
        total = weights @ values[member].astype(np.float32)
        count = weights.sum(1, keepdims=True)
        ends: Floats = (total / np.maximum(count, 1)).astype(np.float64)
        return ends

    def intervals(self, values: Floats, member: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Lower and upper ends, each (columns,)."""
        low, high = np.quantile(self.means(values, member), self.quantiles, axis=0).astype(
            np.float64
        )
        return low, high

    def difference(self, a: Floats, b: Floats) -> Difference:
        """Compare two models on the same people; `a` and `b` are (n,)."""
        gap = a - b
        drawn = self.means(gap[:, None], np.ones(len(gap), dtype=bool))[:, 0]
        low, high = np.quantile(drawn, self.quantiles)
        spread, error = float(gap.std()), float(drawn.std())
        # normal, by the bootstrap's standard error: counting resamples beyond zero cannot give
        # less than 2 / resamples, which Holm's correction of many pairs makes useless
        p_value = 2 * float(stats.norm.sf(abs(gap.mean()) / error)) if error > 0 else 1.0
        effect = float(gap.mean()) / spread if spread > 0 else 0.0
        return Difference(float(gap.mean()), float(low), float(high), float(p_value), effect)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    running = 0.0
    for step, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - step) * p_values[i]))
        adjusted[i] = running
    return [float(p) for p in adjusted]
