"""Quality that is known late: clicks joined to impressions, and click rates that can be believed.

Clicks of one list are not independent, and an item at the top is seen more often.  So intervals are
Wilson's (1927) on the effective number of impressions (Kish's design effect over requests), and the
corrected rate divides by how often each position is looked at.  That is estimated from items that
were shown at several positions: a Poisson regression with item effects, whose mean is that of the
position-based click model (Richardson et al. 2007; compare Agarwal et al. 2019).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Impressions:
    """n shown items: request number, time (seconds), item number, position (1: top), and the
    probability with which the logging policy showed that item there (1: no chance involved)."""

    request: Ints
    time: Floats
    item: Ints
    position: Ints
    propensity: Floats
    domain: NDArray[np.str_]
    route: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.request)


@dataclass(frozen=True)
class Clicks:
    """m clicks: request number, item number, time (seconds)."""

    request: Ints
    item: Ints
    time: Floats


@dataclass(frozen=True)
class Joined:
    """`clicked` (n,) within the window; `mature` (n,): the window was over, so that no click is
    still to come.  The rest counts clicks that were not used."""

    clicked: Flags
    mature: Flags
    late: int
    repeated: int
    unmatched: int


@dataclass(frozen=True)
class Rate:
    """A share of impressions with its interval; `effective` impressions carry as much as these
    would if they were independent."""

    value: float
    low: float
    high: float
    impressions: int
    clicks: int
    effective: float


@dataclass(frozen=True)
class CorrectedRate:
    """Clicks per impression that was looked at, relative to the top position; `examination`
    is the look-rate of each position (None: no clicked item links it to the top one)."""

    value: float
    low: float
    high: float
    examination: tuple[float | None, ...]


def join(impressions: Impressions, clicks: Clicks, window: float, now: float) -> Joined:
    """Which impressions were clicked within `window` seconds, as known at the moment `now`."""
    span = int(max(impressions.item.max(initial=0), clicks.item.max(initial=0))) + 2
    key = impressions.request.astype(np.int64) * span + impressions.item + 1
    asked = clicks.request.astype(np.int64) * span + clicks.item + 1
    order = np.argsort(key, kind="stable")
    place = np.searchsorted(key, asked, sorter=order)
    place = order[np.minimum(place, max(len(order) - 1, 0))] if len(order) else place
    matched = key[place] == asked if len(order) else np.zeros(len(asked), dtype=bool)
    delay = clicks.time[matched] - impressions.time[place[matched]]
    good = place[matched][(delay >= 0) & (delay <= window)]
    clicked = np.zeros(len(key), dtype=bool)
    clicked[good] = True
    return Joined(
        clicked=clicked,
        mature=impressions.time <= now - window,
        late=int((delay > window).sum()),
        repeated=len(good) - int(clicked.sum()),
        unmatched=len(asked) - int(matched.sum()) + int((delay < 0).sum()),
    )


def click_rate(clicked: Flags, request: Ints, confidence: float = 0.95) -> Rate:
    """The share of clicked impressions.

    Raises:
        ValueError: there is none.
    """
    n, hits = len(clicked), int(clicked.sum())
    if n == 0:
        raise ValueError("a click rate needs at least one impression")
    p = hits / n
    _, group = np.unique(request, return_inverse=True)
    size = np.bincount(group)
    off = np.bincount(group, clicked) - p * size
    groups = len(size)
    variance = float(off @ off) / n**2 * groups / max(groups - 1, 1)
    effect = max(1.0, variance / (p * (1 - p) / n)) if 0 < p < 1 else float(size.mean())
    effective = n / effect
    low, high = wilson(p, effective, confidence)
    return Rate(p, low, high, n, hits, effective)


def wilson(p: float, n: float, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a share p of n trials; n need not be whole."""
    z = float(stats.norm.isf((1 - confidence) / 2))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def corrected_rate(
    item: Ints,
    position: Ints,
    clicked: Flags,
    request: Ints,
    confidence: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> CorrectedRate | None:
    """The click rate if everything had been looked at as the top position is; the interval is a
    bootstrap over requests.  Impressions at positions that nothing links to the top are left out.

    None without any click, or when no click is left at a linked position.
    """
    last = int(position.max(initial=1))
    linked = _linked(item[clicked], position[clicked], last)
    kept = linked[position - 1]
    if not clicked[kept].any():
        return None
    _, group = np.unique(request[kept], return_inverse=True)
    pairs = np.column_stack([item[kept], position[kept]])
    cells, cell = np.unique(pairs, axis=0, return_inverse=True)
    _, row = np.unique(cells[:, 0], return_inverse=True)
    by_item = _indicator(row)
    by_place = _indicator(cells[:, 1] - 1, last)
    requests = int(group.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(requests, np.full(requests, 1 / requests), resamples)
    weights = np.vstack([np.ones(requests), drawn]).T  # the sample itself first
    to_cells = sparse.csr_matrix((np.ones(len(cell)), (cell.ravel(), group)))
    hit = sparse.csr_matrix((clicked[kept].astype(float), (cell.ravel(), group)), to_cells.shape)
    look = _examination(hit @ weights, to_cells @ weights, by_item, by_place)
    shown = by_place @ (to_cells @ weights)
    values = (hit @ weights).sum(0) / np.maximum((shown * look).sum(0), 1e-12)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    examination = [float(x) if ok else None for x, ok in zip(look[:, 0], linked, strict=True)]
    return CorrectedRate(float(values[0]), float(low), float(high), tuple(examination))


def _examination(
    hits: Floats, shown: Floats, by_item: Any, by_place: Any, rounds: int = 40
) -> Floats:
    """Look-rates (positions, samples), 1 at the top, by alternating the two closed forms of the
    Poisson likelihood; `hits` and `shown` are (cells, samples)."""
    look = np.ones((by_place.shape[0], hits.shape[1]))
    place_hits, item_hits = by_place @ hits, by_item @ hits
    for _ in range(rounds):
        appeal = item_hits / np.maximum(by_item @ (shown * (by_place.T @ look)), 1e-12)
        look = place_hits / np.maximum(by_place @ (shown * (by_item.T @ appeal)), 1e-12)
        look /= np.maximum(look[:1], 1e-12)
    return look


def _linked(item: Ints, position: Ints, last: int) -> Flags:
    """Which of the positions 1 to `last` are linked with the top one by clicked items."""
    if not (position == 1).any():
        return np.zeros(last, dtype=bool)
    _, row = np.unique(item, return_inverse=True)
    n = int(row.max()) + 1
    graph = sparse.coo_matrix(
        (np.ones(len(row)), (row, n + position - 1)), shape=(n + last, n + last)
    )
    _, part = sparse.csgraph.connected_components(graph, directed=False)
    found: Flags = part[n:] == part[n]
    return found


def _indicator(row: Ints, rows: int | None = None) -> Any:
    count = int(row.max()) + 1 if rows is None else rows
    return sparse.csr_matrix((np.ones(len(row)), (row, np.arange(len(row)))), (count, len(row)))
