"""What another policy would have earned, from the log of this one (Dudik et al. 2011).

IPS weighs each logged item by how much more often the other policy shows it (Horvitz & Thompson
1952); SNIPS divides by the mean weight (Swaminathan & Joachims 2015); the doubly robust estimate
corrects a reward model by IPS of its errors.  Each slot of a list counts on its own: the reward of
an item may depend on the person and the position, not on its neighbours (the item-position model
of Li et al. 2018).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]
POOR_SHARE = 0.1  # of the impressions that carry information
POOR_SIZE = 50
HEAVY = 0.05  # share of all weight in one request


@dataclass(frozen=True)
class Estimate:
    """Mean reward per impression with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OffPolicy:
    """The three estimates (`doubly_robust` is None without a reward model); `effective` is Kish's
    number of impressions that carry the weight, `matched` the share that the other policy could
    have shown, `warnings` say when not to believe them."""

    ips: Estimate
    snips: Estimate
    doubly_robust: Estimate | None
    impressions: int
    effective: float
    matched: float
    mean_weight: float
    warnings: tuple[str, ...]


def off_policy(
    reward: Floats,
    propensity: Floats,
    target: Floats,
    request: Ints,
    predicted: tuple[Floats, Floats] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> OffPolicy:
    """The value of a policy from n logged impressions.

    `propensity` and `target` (n,) are the probabilities with which the logging policy and the
    other one show the logged item in that slot.  `predicted` are a reward model's answers (n,) for
    the logged item and on average over what the other policy shows there; it must not have seen
    the request itself.  Intervals are percentiles of a bootstrap over requests.

    Raises:
        ValueError: no impression, or a probability that cannot be one.
    """
    if len(reward) == 0:
        raise ValueError("an estimate needs at least one impression")
    if propensity.min() <= 0 or max(propensity.max(), target.max()) > 1 or target.min() < 0:
        raise ValueError("propensities must lie in (0, 1], target probabilities in [0, 1]")
    weight = target / propensity
    one = np.ones(len(reward))
    columns = [one, weight * reward, weight]
    if predicted is not None:
        logged, other = predicted
        columns.append(other + weight * (reward - logged))
    _, group = np.unique(request, return_inverse=True)
    sums: Floats = np.column_stack([np.bincount(group, c) for c in columns])
    rng = np.random.default_rng(seed)
    n = len(sums)
    drawn = np.vstack([_resample(sums, rng) for _ in range(resamples)]) if n > 1 else sums
    totals = np.vstack([sums.sum(0), drawn])
    tail = (1 - confidence) / 2

    def estimate(value: Floats) -> Estimate:
        low, high = np.quantile(value[1:], [tail, 1 - tail])
        return Estimate(float(value[0]), float(low), float(high))

    total = float(weight.sum())
    effective = total**2 / max(float(weight @ weight), 1e-300) if total > 0 else 0.0
    return OffPolicy(
        ips=estimate(totals[:, 1] / totals[:, 0]),
        snips=estimate(totals[:, 1] / np.maximum(totals[:, 2], 1e-300)),
        doubly_robust=None if predicted is None else estimate(totals[:, 3] / totals[:, 0]),
        impressions=len(reward),
        effective=effective,
        matched=float((target > 0).mean()),
        mean_weight=float(weight.mean()),
        warnings=_warnings(propensity, weight, sums[:, 2], effective),
    )


def _resample(sums: Floats, rng: np.random.Generator) -> Floats:
    found: Floats = np.bincount(rng.integers(len(sums), size=len(sums)), minlength=len(sums)) @ sums
    return found


def _warnings(
    propensity: Floats, weight: Floats, per_request: Floats, effective: float
) -> tuple[str, ...]:
    n, mean = len(weight), float(weight.mean())
    found = []
    if propensity.min() == 1:
        found.append(
            "the log was made without chance, so that nothing is known of items it did not show; "
            "SNIPS tells the rate where both policies agree"
        )
    if effective < max(POOR_SIZE, POOR_SHARE * n):
        found.append(
            f"poor overlap: {n:,} impressions carry as much as {effective:,.0f}; log longer or "
            "let the service explore more"
        )
    total = float(per_request.sum())
    if total > 0 and per_request.max() > HEAVY * total:
        found.append(f"one request carries {per_request.max() / total:.0%} of the weight")
    spread = float(per_request.std()) * np.sqrt(len(per_request)) / n
    if propensity.min() < 1 and abs(mean - 1) > max(0.05, 3 * spread):
        found.append(
            f"the mean weight is {mean:.2f} where 1 is expected: the propensities are wrong, or "
            "the other policy shows what the log's never does"
        )
    return tuple(found)


class ItemRewards:
    """A reward model for `off_policy`: an item's own rate, shrunk to the mean of its position, by
    folds of requests, so that a request is never predicted from itself."""

    def __init__(
        self,
        item: Ints,
        position: Ints,
        reward: Floats,
        request: Ints,
        folds: int = 5,
        strength: float = 20.0,
    ) -> None:
        self.fold = request % folds
        items, places = int(item.max(initial=0)) + 1, int(position.max(initial=1)) + 1
        self.place = np.zeros((folds, places))
        self.lift = np.ones((folds, items + 1))  # the last is for items that were never shown
        for fold in range(folds):
            seen = self.fold != fold
            if not seen.any():
                continue
            count = np.bincount(position[seen], minlength=places)
            total = np.bincount(position[seen], reward[seen], minlength=places)
            mean = float(reward[seen].mean())
            self.place[fold] = (total + strength * mean) / (count + strength)
            expected = np.bincount(item[seen], self.place[fold][position[seen]], minlength=items)
            got = np.bincount(item[seen], reward[seen], minlength=items)
            pseudo = max(strength * mean, 1e-12)
            self.lift[fold, :items] = (got + pseudo) / (expected + pseudo)

    def of(self, item: Ints, position: Ints) -> Floats:
        """Predictions for items (n,) or (n, c) at the positions (n,) of the logged impressions."""
        known = np.where((item >= 0) & (item < self.lift.shape[1] - 1), item, -1)
        place = self.place[self.fold, position]
        fold = self.fold
        if item.ndim == 2:
            place, fold = place[:, None], fold[:, None]
        found: Floats = place * self.lift[fold, known]
        return found
