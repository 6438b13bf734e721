"""Have the answers drifted between two windows of the traffic log?

Answers to one person resemble each other, so every test sees one random answer of each person of
both windows together; and all tests of a run are corrected together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridgerec.monitoring.answers import Answers
from bridgerec.monitoring.checks import LEAST, Check, decide, distributions, means, one_each, shares

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
POPULARITY_FLOOR = 0.02  # of the mean percentile
REPEAT_FLOOR = 0.05
FILL_FLOOR = 0.02
COVERAGE_FLOOR = 0.1  # relative


@dataclass(frozen=True)
class PredictionDrift:
    """Answers of both windows, the people that the tests saw, and the checks.  Scores of different
    models have different scales, so they are compared among releases of both windows only;
    `new_releases` answered in the current window alone."""

    reference_answers: int
    current_answers: int
    people: int
    new_releases: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def drift(self) -> bool:
        return any(c.drift for c in self.checks)

    @property
    def words(self) -> str:
        """The verdict in one or two sentences."""
        if not self.checks:
            return f"not judged: fewer than {LEAST} people asked in one of the two windows."
        drifted = "; ".join(c.words for c in self.checks if c.drift)
        verdict = f"drifted: {drifted}." if drifted else f"no drift in {len(self.checks)} checks."
        if self.new_releases:
            verdict += (
                f" The release changed (new: {', '.join(self.new_releases)}), which by itself "
                "changes answers."
            )
        return verdict


def prediction_drift(
    answers: Answers,
    before: Flags,
    now: Flags,
    percentile: Floats,
    alpha: float = 0.05,
    seed: int = 0,
) -> PredictionDrift:
    """Compare the answers (n,) of two windows; `percentile` (n_items,) is each item's popularity
    among all items, in [0, 1]."""
    rng = np.random.default_rng(seed)
    inside = np.flatnonzero(before | now)
    chosen = inside[one_each(answers.person[inside], rng)]
    old, new = chosen[before[chosen]], chosen[now[chosen]]
    found: list[Check | None] = [
        shares("route shares", "all", answers.route[old], answers.route[new]),
        shares("target shares", "all", answers.target[old], answers.target[new]),
    ]
    found += _scores(answers, old, new)
    shown = answers.per_answer(np.where(answers.items >= 0, percentile[answers.items], np.nan))
    filled = answers.lengths / np.maximum(answers.k, 1)
    for target in np.unique(answers.target[chosen]):
        a, b = (side[answers.target[side] == target] for side in (old, new))
        found.append(
            means("popularity percentile", target, _told(shown[a]), _told(shown[b]),
                  POPULARITY_FLOOR)
        )  # fmt: skip
        found.append(means("list filled", target, filled[a], filled[b], FILL_FLOOR))
        found.append(_coverage(answers, target, a, b, rng))
    found.append(_repeats(answers, before, now, rng))
    releases = set(answers.release[now]) - set(answers.release[before])
    return PredictionDrift(
        reference_answers=int(before.sum()),
        current_answers=int(now.sum()),
        people=len(chosen),
        new_releases=tuple(sorted(map(str, releases))),
        checks=decide([c for c in found if c is not None], alpha),
    )


def _told(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _scores(answers: Answers, old: Ints, new: Ints) -> list[Check | None]:
    """The best score of each list, per route."""
    common = np.intersect1d(answers.release[old], answers.release[new])
    top = np.where(np.isin(answers.release, common), answers.top(), np.nan)
    found = []
    for route in np.unique(answers.route[np.concatenate([old, new])]):
        a, b = (_told(top[side[answers.route[side] == route]]) for side in (old, new))
        found.append(distributions("top score", str(route), a, b))
    return found


def _coverage(
    answers: Answers, target: str, old: Ints, new: Ints, rng: np.random.Generator
) -> Check | None:
    """Distinct items in equally many lists of either window, by a permutation test."""
    size = min(len(old), len(new))
    if size < LEAST:
        return None
    pool = np.concatenate([rng.permutation(old)[:size], rng.permutation(new)[:size]])
    place = answers.start[pool][:, None] + np.arange(answers.lengths[pool].max(initial=0))
    inside = place < answers.start[pool + 1][:, None]
    lists = np.where(inside, np.append(answers.items, -1)[place * inside], -1)
    span = int(lists.max(initial=-1)) + 2

    def distinct(rows: Ints) -> int:
        seen = np.zeros(span, dtype=bool)
        seen[lists[rows]] = True
        return int(seen[:-1].sum())  # the last is -1: in no catalogue

    def gap(order: Ints) -> float:
        a, b = distinct(order[:size]), distinct(order[size:])
        return (b - a) / max(a, b, 1)

    order = np.arange(2 * size)
    true, null = gap(order), [abs(gap(rng.permutation(order))) for _ in range(199)]
    # normal approximation: counting cannot give less than 1 / 200, which Holm makes useless
    from scipy.stats import norm

    spread = float(np.sqrt(np.mean(np.square(null))))
    p_value = 2 * float(norm.sf(abs(true) / spread)) if spread > 0 else 1.0
    return Check(
        "distinct items", str(target), distinct(order[:size]), distinct(order[size:]),
        abs(true), COVERAGE_FLOOR, p_value, "relative difference",
    )  # fmt: skip


def _repeats(answers: Answers, before: Flags, now: Flags, rng: np.random.Generator) -> Check | None:
    """Share of a list that the same history was shown before, within a window."""
    people, values = [], []
    for window in (before, now):
        last: dict[int, set[int]] = {}
        met: dict[int, list[float]] = {}
        owner: dict[int, int] = {}
        for i in np.flatnonzero(window):
            key = int(answers.history[i])
            shown = answers.items[answers.start[i] : answers.start[i + 1]].tolist()
            if key in last and shown:
                met.setdefault(key, []).append(sum(x in last[key] for x in shown) / len(shown))
                owner[key] = int(answers.person[i])
            last.setdefault(key, set()).update(shown)
        people.append(np.array([owner[key] for key in met], dtype=np.int64))
        values.append(np.array([np.mean(met[key]) for key in met], dtype=np.float64))
    kept = one_each(np.concatenate(people), rng)
    first = len(people[0])
    old, new = values[0][kept[kept < first]], values[1][kept[kept >= first] - first]
    return means("items shown again", "same history", old, new, REPEAT_FLOOR)
