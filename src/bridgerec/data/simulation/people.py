"""People with tastes that show in several domains, and what they do in a year."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.simulation import words
from bridgerec.data.simulation.catalogue import SimulatedItems

YEAR_START = 1_704_067_200  # 2024-01-01 00:00 UTC
DAYS = 366
SHARPNESS = 10.0
CONCENTRATION = 0.12  # of the Dirichlet distribution of tastes: a few themes each


@dataclass(frozen=True)
class People:
    """`tastes` (n, themes) sums to 1; `active` (n, domains) says where a person is at all."""

    ids: list[str]
    tastes: NDArray[np.float64]
    active: NDArray[np.bool_]
    activity: NDArray[np.float64]


def simulate_people(n: int, n_domains: int, rng: np.random.Generator) -> People:
    """Sparse tastes over themes; about 45 % are active in more than one domain."""
    count = len(words.THEMES)
    tastes = np.round(rng.dirichlet(np.full(count, CONCENTRATION), n), 8).astype(np.float64)
    tastes /= tastes.sum(1, keepdims=True)
    home = rng.integers(0, n_domains, n)
    active = np.zeros((n, n_domains), dtype=bool)
    active[np.arange(n), home] = True
    active |= (rng.random(n) < 0.45)[:, None] & (rng.random((n, n_domains)) < 0.65)
    activity = np.round(np.clip(rng.lognormal(2.5, 0.7, n), 3, 80), 4).astype(np.float64)
    return People([f"u{i:05d}" for i in range(n)], tastes, active, activity)


def utilities(tastes: NDArray[np.float64], items: SimulatedItems) -> NDArray[np.float64]:
    """Log-preferences, shape (people, items): taste for the themes plus general appeal."""
    found: NDArray[np.float64] = np.round(SHARPNESS * tastes @ items.themes.T, 6) + items.appeal
    return found


def probabilities(tastes: NDArray[np.float64], items: SimulatedItems) -> NDArray[np.float64]:
    """True preference probabilities, rows sum to 1; cold items are as attractive as others."""
    u = utilities(tastes, items)
    e = np.exp(u - u.max(1, keepdims=True))
    result: NDArray[np.float64] = e / e.sum(1, keepdims=True)
    return result


def simulate_events(
    domain: str, number: int, people: People, items: SimulatedItems, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The events of one domain, sorted by time."""
    rows: list[dict[str, Any]] = []
    kinds, shares = zip(*words.EVENTS[domain], strict=True)
    for person in np.flatnonzero(people.active[:, number]):
        wanted = max(1, int(rng.poisson(people.activity[person])))
        p = probabilities(people.tastes[person : person + 1], items)[0]
        p[items.cold] = 0
        # a few sessions, in each of which several things are met
        sessions = np.sort(rng.integers(0, DAYS, max(1, wanted // 3)))
        days = np.sort(rng.choice(sessions, wanted))
        seconds = np.sort(days * 86_400 + rng.integers(0, 86_400, wanted))
        draws = rng.random(wanted)
        # drawn from rounded sums, so that the last bits of exp do not decide
        cumulative = np.round(np.cumsum(p / p.sum()), 9)
        chosen = np.minimum(np.searchsorted(cumulative, draws, side="right"), len(p) - 1)
        for item, second in zip(chosen.tolist(), seconds.tolist(), strict=True):
            if items.cold[item] or second < int(items.released[item]) * 86_400:
                continue
            kind = kinds[int(rng.choice(len(kinds), p=shares))]
            rows.append(_event(people.ids[person], items, item, second, "view", rng))
            if kind != "view":
                later = min(second + int(rng.integers(60, 7200)), DAYS * 86_400 - 1)
                rows.append(_event(people.ids[person], items, item, later, kind, rng))
    rows.sort(key=lambda r: (r["timestamp"], r["user_id"], r["item_id"], r["kind"]))
    distinct = {(r["user_id"], r["item_id"], r["timestamp"], r["kind"]): r for r in rows}
    return list(distinct.values())


def _event(
    user: str, items: SimulatedItems, item: int, second: int, kind: str, rng: np.random.Generator
) -> dict[str, Any]:
    value: float | None = None
    if kind == "purchase":
        units = 1 + int(rng.integers(500, 9000) >= 8000)
        value = round(units * float(items.rows[item]["price"]), 2)
    elif kind == "rating":
        value = float(rng.choice([3, 4, 5], p=[0.2, 0.4, 0.4]))
    return {
        "user_id": user,
        "item_id": items.rows[item]["item_id"],
        "timestamp": YEAR_START + second,
        "kind": kind,
        "value": value,
    }
