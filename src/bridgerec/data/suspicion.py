"""Suspicious people, found from training rows alone: robots, and profiles made to push items.

One person: a burst, a long history, or a near-identical twin, each as a one-sided robust deviation
(median and MAD) from everybody (after Chirita et al., WIDM 2005, and Burke et al., KDD 2006; no
ratings are needed).  A group: an item's audience holds far more people than chance allows whose
items nobody else combines, or who met them in a burst (target item analysis, Zhou et al., PLoS
ONE 2015); only there a deviation that many have is held against anybody.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from bridgerec.config import KCore
from bridgerec.data.split import Assignment, Pairs, k_core

Floats = NDArray[np.float64]
SIGNS = ("burst", "length", "twin")
REASONS = {
    "group": "push the same items",
    "burst": "met many items within one hour",
    "length": "have a very long history",
    "twin": "met nearly the same items as somebody else",
}
HOUR = 3600
LEAST = 5  # rows; less tells too little, and does little
ODD = 0.3  # this share of the people, the oddest, is looked at for common items
MAJORITY = 0.75  # of a pushed audience is odd: what many honest people met proves nothing
CHANCE = 1e-6  # of so many odd people among the audience, over all items
NICHE = 0.8  # of the rows, on the less popular items: everybody combines the most popular ones
BUDGET = 50_000_000  # pairs of people, or of items, compared; the most popular are left out
BLOCK = 1024


@dataclass(frozen=True)
class Suspicion:
    """Of `users` (n,), those with at least `LEAST` rows: their `signs` (n, len(SIGNS)) in robust
    standard deviations above the median, and whether they belong to a `group` (n,)."""

    users: NDArray[np.int64]
    signs: Floats
    group: NDArray[np.bool_]

    def suspicious(self, threshold: float) -> NDArray[np.bool_]:
        """Who has a sign at the threshold or above, or belongs to a group; (n,)."""
        return np.asarray(self.group | (self.signs >= threshold).any(axis=1))


def suspicion(
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    time: NDArray[np.int64] | None,
    domain: NDArray[np.int64],
) -> Suspicion:
    """The signs of everybody with enough rows.  Rows (n,) are distinct pairs, sorted by person and
    then by time (seconds); `domain` (items,) numbers the items' domains from 0."""
    users, row, length = np.unique(user, return_inverse=True, return_counts=True)
    known = length >= LEAST
    kept = known[row]
    row, item, length = (np.cumsum(known) - 1)[row[kept]], item[kept], length[known]
    people = users[known].astype(np.int64)
    if not len(row):
        return Suspicion(people, np.zeros((0, len(SIGNS))), np.zeros(0, dtype=bool))
    met = sparse.csr_array((np.ones(len(row)), (row, item)), shape=(len(length), len(domain)))
    busiest = np.ones(len(length)) if time is None else _busiest(row, time[kept], len(length))
    burst = _deviation(np.log(busiest), 0.5)
    # the least spreads keep a unit where more than half of the people are alike
    signs = [burst, _deviation(np.log(length), 0.3), _deviation(_twin(met), 0.3)]
    groups = [_group(met, oddness) for oddness in (burst, *_mixtures(met, domain))]
    return Suspicion(people, np.stack(signs, axis=1), np.any(groups, axis=0))


def _deviation(values: Floats, least: float) -> Floats:
    """How many robust standard deviations (one is at least `least`) above the median, or 0."""
    middle = np.median(values)
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), least)
    return np.asarray(np.maximum(values - middle, 0) / spread)


def _busiest(row: NDArray[np.int64], time: NDArray[np.int64], n: int) -> Floats:
    """Most rows of each person that begin within one hour, (n,)."""
    # one number line on which the people lie more than an hour apart
    moment = time - time.min()
    line = row * (int(moment.max()) + 2 * HOUR) + moment
    within = np.searchsorted(line, line + HOUR, side="right") - np.arange(len(line))
    most = np.zeros(n, dtype=np.int64)
    np.maximum.at(most, row, within)
    return most.astype(np.float64)


def _least_popular(met: "sparse.csr_array", cost: Floats, limit: float) -> "sparse.csr_array":
    """Only the least popular items, whose `cost` (items,) sums to the limit at most."""
    audience = met.sum(axis=0)
    order = np.argsort(audience, kind="stable")
    keep = np.zeros(len(audience))
    keep[order] = np.cumsum(cost[order]) <= limit
    found = sparse.csr_array(met * keep[None, :])
    found.eliminate_zeros()
    return found


def _twin(met: "sparse.csr_array") -> Floats:
    """How near the most similar other person is, (n,): minus the log of what the cosine of their
    items lacks to 1.01."""
    part = _least_popular(met, met.sum(axis=0) ** 2, BUDGET)
    unit = sparse.csr_array(part / np.sqrt(met.sum(axis=1))[:, None])
    turned, most = unit.T.tocsr(), np.zeros(met.shape[0])
    for start in range(0, met.shape[0], BLOCK):
        cosine = (unit[start : start + BLOCK] @ turned).tocoo()
        other = cosine.row + start != cosine.col
        np.maximum.at(most, cosine.row[other] + start, cosine.data[other])
    return np.asarray(-np.log(1.01 - np.minimum(most, 1)))


def _mixtures(met: "sparse.csr_array", domain: NDArray[np.int64]) -> list[Floats]:
    """How little a person's items belong together, each (n,): minus the mean cosine of the
    audiences of two of them, the person left out, as it is and relative to what is usual between
    the two items' domains; the median for who has few items that are not popular."""
    audience = met.sum(axis=0)
    part = _least_popular(met, audience, NICHE * audience.sum())
    part = _least_popular(part, part.T @ part.sum(axis=1), BUDGET)
    both = (part.T @ part).tocoo()
    other = both.row != both.col
    left, right = both.row[other], both.col[other]
    # whoever met both items counts in both audiences, so leaving a person out is taking one off
    cosine = (both.data[other] - 1) / np.sqrt((audience[left] - 1) * (audience[right] - 1) + 1e-9)
    n = int(domain.max()) + 1
    between = domain[left] * n + domain[right]
    count = np.bincount(domain[part.sum(axis=0) > 0], minlength=n)
    usual = np.bincount(between, cosine, n * n) / np.maximum(np.outer(count, count).ravel(), 1)
    relative = cosine / np.maximum(usual[between], 1e-12)
    length = part.sum(axis=1)
    enough = length >= LEAST - 1
    found = []
    for likeness in (cosine, relative):
        table = sparse.csr_array((likeness, (left, right)), shape=both.shape)
        mean = np.zeros(met.shape[0])
        for start in range(0, met.shape[0], BLOCK):
            own = part[start : start + BLOCK]
            mean[start : start + BLOCK] = (own @ table).multiply(own).sum(axis=1)
        mean /= np.maximum(length * (length - 1), 1)
        mean[~enough] = np.median(mean[enough]) if enough.any() else 0.0
        found.append(-mean)
    return found


def _group(met: "sparse.csr_array", oddness: Floats) -> NDArray[np.bool_]:
    """Who is odd and met an item whose audience is odd beyond chance, (n,)."""
    from scipy.stats import binom  # half a second, which only this needs

    odd = oddness > np.quantile(oddness, 1 - ODD)
    audience, among = met.sum(axis=0), met.T @ odd.astype(np.float64)
    chance = binom.sf(among - 1, audience, odd.mean()) * met.shape[1]
    pushed = (chance < CHANCE) & (among > MAJORITY * audience)
    return np.asarray(odd & (met @ pushed.astype(np.float64) > 0))


def set_aside(
    split: Assignment, pairs: Pairs, domain: NDArray[np.int64], threshold: float, minimum: KCore
) -> tuple[Assignment, pl.DataFrame]:
    """The split without suspicious people's rows in `fit`, which is the k-core of the others'.

    Parts and weights stay as they are: whoever is set aside is asked about, and is answered from
    their own history, like everybody.

    The table has one row per suspicious person: split, user, reason, rows, and their signs.
    """
    place = np.arange(len(pairs.user)) if split.rows is None else split.rows
    user, item = pairs.user[place], pairs.item[place]
    train = split.part == 0
    time = None if pairs.timestamp is None else pairs.timestamp[place[train]]
    found = suspicion(user[train], item[train], time, domain)
    out = found.suspicious(threshold)
    users, signs = found.users[out], found.signs[out]
    changed = replace(
        split,
        fit=k_core(user, item, train & ~np.isin(user, users), minimum),
        info={**split.info, "suspicious_people": len(users)},
    )
    strongest = signs.argmax(axis=1) if len(users) else np.zeros(0, dtype=np.int64)
    reason = np.where(found.group[out], "group", np.array(SIGNS)[strongest])
    table = pl.DataFrame(
        {
            "split": np.full(len(users), split.name),
            "user": users,
            "reason": reason,
            "rows": np.bincount(user[train], minlength=int(user.max()) + 1)[users],
            **{sign: signs[:, number].round(2) for number, sign in enumerate(SIGNS)},
        },
        schema_overrides={"split": pl.String, "reason": pl.String},
    )
    return changed, table


def describe(table: pl.DataFrame) -> str:
    """One split's table in words."""
    if table.is_empty():
        return "nobody is suspicious"
    counts = dict(table["reason"].value_counts().iter_rows())
    told = "; ".join(f"{counts[r]:,} {text}" for r, text in REASONS.items() if r in counts)
    return f"{len(table):,} suspicious people, not learnt from: {told}"
