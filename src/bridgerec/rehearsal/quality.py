"""How good the lists were, by the preferences that only the simulator knows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bridgerec.evaluation.significance import Bootstrap

K = 10
RESAMPLES = 2000
CONFIDENCE = 0.95
Floats = NDArray[np.float64]


class Seen(BaseModel):
    """One visit.  `maintained` and `frozen` are the NDCG of both lists, the others the expected
    clicks on both and the clicks that came."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    day: int
    person: int
    maintained: float
    frozen: float
    maintained_clicks: float
    frozen_clicks: float
    clicks: int


class Mean(BaseModel):
    """A mean with its bootstrap interval over people."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    low: float
    high: float
    people: int


def preference_ndcg(preference: Floats, shown: Sequence[int], k: int = K) -> float:
    """NDCG@k of the items `shown`, best first, with true preference probabilities (items,) as
    gains; the ideal list holds the most wanted items.  0 where nothing is wanted at all."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = float(np.sort(preference)[::-1][:k] @ discount[: min(k, len(preference))])
    gains = preference[list(shown[:k])]
    return float(gains @ discount[: len(gains)]) / ideal if ideal > 0 else 0.0


def mean(values: Floats, seed: int) -> Mean:
    """The mean of one value per person, (people,)."""
    bootstrap = Bootstrap(len(values), RESAMPLES, CONFIDENCE, seed)
    low, high = bootstrap.intervals(values[:, None], np.ones(len(values), dtype=bool))
    return Mean(value=float(values.mean()), low=float(low[0]), high=float(high[0]),
                people=len(values))  # fmt: skip


def per_day(seen: Sequence[Seen], seed: int) -> list[dict[str, Any]]:
    """A row per day: both means with intervals, clicks per list, and how many came."""
    rows = []
    for day in sorted({s.day for s in seen}):
        own = [s for s in seen if s.day == day]
        rows.append(
            {
                "day": day,
                "visits": len(own),
                "clicks": sum(s.clicks for s in own),
                **{
                    name: mean(np.array([getattr(s, name) for s in own]), seed).model_dump()
                    for name in ("maintained", "frozen", "maintained_clicks", "frozen_clicks")
                },
            }
        )
    return rows


def gain(seen: Sequence[Seen], name: str, seed: int) -> Mean:
    """The maintained model's value minus the frozen one's, a mean of each person's visits;
    `name` is "ndcg" or "clicks"."""
    one, other = {
        "ndcg": ("maintained", "frozen"),
        "clicks": ("maintained_clicks", "frozen_clicks"),
    }[name]
    people: dict[int, list[float]] = {}
    for s in seen:
        people.setdefault(s.person, []).append(getattr(s, one) - getattr(s, other))
    return mean(np.array([np.mean(own) for own in people.values()]), seed)
