"""Tests that compare a reference with a current sample, and false-alarm control over many.

Every check has an effect in units that mean something, and a floor below which the effect is not
worth an alarm however sure it is.  P-values are adjusted together (Holm 1979), so that one run
without drift raises any alarm at all with probability `alpha` at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bridgerec.evaluation.significance import holm

Floats = NDArray[np.floating[Any]]
Texts = NDArray[np.str_]
LEAST = 20  # values on either side; fewer are not judged


@dataclass(frozen=True)
class Check:
    """`segment` says whose values; `reference` and `current` summarise both sides; `adjusted` is
    the p-value after correction and `drift` the decision (both set by `decide`)."""

    name: str
    segment: str
    reference: float
    current: float
    effect: float
    floor: float
    p_value: float
    unit: str
    adjusted: float = 1.0
    drift: bool = False

    @property
    def words(self) -> str:
        """One line, for example `top score (warm): 2.10 before, 2.80 now`."""
        return (
            f"{self.name} ({self.segment}): {self.reference:.4g} before, {self.current:.4g} now; "
            f"{self.unit} {self.effect:.3g} (alarm from {self.floor:g}), p = {self.adjusted:.2g}"
        )


def decide(checks: Sequence[Check], alpha: float) -> tuple[Check, ...]:
    """The checks with adjusted p-values and decisions."""
    adjusted = holm([c.p_value for c in checks])
    return tuple(
        replace(c, adjusted=p, drift=p <= alpha and c.effect >= c.floor)
        for c, p in zip(checks, adjusted, strict=True)
    )


def distributions(
    name: str, segment: str, before: Floats, now: Floats, floor: float = 0.1
) -> Check | None:
    """Kolmogorov and Smirnov's test of whole distributions; summaries are medians."""
    if min(len(before), len(now)) < LEAST:
        return None
    found = stats.ks_2samp(before, now)
    return Check(
        name,
        segment,
        float(np.median(before)),
        float(np.median(now)),
        float(found.statistic),
        floor,
        float(found.pvalue),
        "KS distance",
    )


def means(name: str, segment: str, before: Floats, now: Floats, floor: float) -> Check | None:
    """Mann and Whitney's test with its correction for ties; the effect is between the means."""
    if min(len(before), len(now)) < LEAST:
        return None
    constant = min(before.min(), now.min()) == max(before.max(), now.max())
    p_value = 1.0 if constant else stats.mannwhitneyu(before, now, method="asymptotic").pvalue
    a, b = float(before.mean()), float(now.mean())
    return Check(name, segment, a, b, abs(b - a), floor, float(p_value), "difference")


def shares(name: str, segment: str, before: Texts, now: Texts, floor: float = 0.05) -> Check | None:
    """Chi-square test of the shares of values, rare ones (fewer than 5 expected) put together; the
    effect is the total variation distance, the summaries are shares of the value that moved most.
    """
    if min(len(before), len(now)) < LEAST:
        return None
    values = np.unique(np.concatenate([before, now]))
    counts = np.array([(side[:, None] == values).sum(0) for side in (before, now)])
    part = counts / counts.sum(1, keepdims=True)
    moved = int(np.abs(part[1] - part[0]).argmax())
    expected = counts.sum(0) * min(counts.sum(1)) / counts.sum()
    kept = counts[:, expected >= 5]
    if (expected < 5).any():
        kept = np.column_stack([kept, counts[:, expected < 5].sum(1)])
    useful = kept[:, kept.sum(0) > 0]
    p_value = stats.chi2_contingency(useful)[1] if useful.shape[1] > 1 else 1.0
    return Check(
        f"{name}, above all {values[moved]}",
        segment,
        float(part[0, moved]),
        float(part[1, moved]),
        float(np.abs(part[1] - part[0]).sum() / 2),
        floor,
        float(p_value),
        "total variation",
    )


def one_each(key: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random row of each value of `key` (n,): rows of one person are not independent."""
    order = rng.permutation(len(key))
    _, first = np.unique(key[order], return_index=True)
    return np.sort(order[first])
