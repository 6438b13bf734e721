"""What one person does on one day: looks at a list, clicks, and meets things elsewhere.

Everything is drawn from the person's and the day's own generator, so that it does not depend on
who else is on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.data.simulation import words
from bridgerec.data.simulation.clicks import EAGERNESS
from bridgerec.data.simulation.people import DAYS, YEAR_START
from bridgerec.rehearsal.shift import Truth

DAY = 86_400
ELSEWHERE = 2.0  # things that somebody meets without the service, per domain and day
Floats = NDArray[np.float64]


@dataclass
class Society:
    """Everybody under one truth, which `turn` replaces by another; `met` holds, by person, the
    (domain, item number) that are known already."""

    truth: Truth
    seed: int
    met: dict[int, set[tuple[str, int]]]

    def __post_init__(self) -> None:
        self.turn(self.truth)

    def turn(self, truth: Truth) -> None:
        """From now on `truth` holds."""
        self.truth = truth
        self.number = {d: {item: i for i, item in enumerate(own)} for d, own in truth.ids.items()}
        self.preference = {domain: truth.preferences(domain) for domain in truth.ids}
        self.liking = {domain: truth.standardised(domain) for domain in truth.ids}
        self.domains = list(truth.ids)

    def visitors(self, day: int, count: int) -> list[int]:
        """Who comes on a day."""
        rng = np.random.default_rng([self.seed, 2, day])
        return sorted(rng.permutation(len(self.truth.people))[:count].tolist())

    def open_preference(self, person: int, domain: str) -> Floats:
        """True preferences, (items,), for what the person has not met yet; 0 for the rest."""
        found: Floats = self.preference[domain][person].copy()
        found[[i for d, i in self.met.get(person, ()) if d == domain]] = 0
        return found

    def chances(self, person: int, domain: str, items: Sequence[str]) -> Floats:
        """How likely a click on each item of a list is, by its place and the person's liking."""
        liking = self.liking[domain][person, [self.number[domain][i] for i in items]]
        looked = 1 / np.arange(1, len(items) + 1) ** 0.7
        found: Floats = looked / (1 + np.exp(EAGERNESS - liking))
        return found

    def clicks(self, person: int, day: int, domain: str, items: Sequence[str]) -> list[str]:
        """The items of a list that are clicked."""
        rng = np.random.default_rng([self.seed, 3, day, person])
        hit = rng.random(len(items)) < self.chances(person, domain, items)
        return [item for item, clicked in zip(items, hit.tolist(), strict=True) if clicked]

    def events(
        self, person: int, day: int, domain: str, clicked: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Everything the person did, as the service takes it: clicked items, then those that were
        met elsewhere in the domains where the person is at home."""
        rng = np.random.default_rng([self.seed, 4, day, person])
        found = [(domain, self.number[domain][item]) for item in clicked]
        for n in np.flatnonzero(self.truth.active[person]).tolist():
            home = self.domains[n]
            chance = self.open_preference(person, home)
            chance[self.truth.items[home].cold] = 0
            wanted = min(int(rng.poisson(ELSEWHERE)), int((chance > 0).sum()))
            drawn = rng.choice(len(chance), wanted, replace=False, p=chance / chance.sum())
            found += [(home, i) for i in drawn.tolist()]
        moments = np.sort(rng.integers(0, DAY - 7200, len(found))) + (DAYS + day) * DAY + YEAR_START
        rows: list[dict[str, Any]] = []
        for (where, item), moment in zip(dict.fromkeys(found), moments.tolist(), strict=False):
            self.met.setdefault(person, set()).add((where, item))
            kinds, shares = zip(*words.EVENTS[where], strict=True)
            kind = kinds[int(rng.choice(len(kinds), p=shares))]
            for what in dict.fromkeys(("view", kind)):
                later = 0 if what == "view" else int(rng.integers(60, 7200))
                value = None if what != "rating" else float(rng.choice([3, 4, 5]))
                rows.append(
                    {
                        "event_id": f"day{day}-{len(rows)}",
                        "user_id": self.truth.people[person],
                        "domain": where,
                        "item_id": self.truth.ids[where][item],
                        "timestamp": int(moment) + later,
                        "kind": what,
                        "value": value,
                    }
                )
        return rows


def met_before(tables: dict[str, pl.DataFrame], truth: Truth) -> dict[int, set[tuple[str, int]]]:
    """What everybody met in the first year; `tables` are the interactions of each domain."""
    people = {name: i for i, name in enumerate(truth.people)}
    found: dict[int, set[tuple[str, int]]] = {}
    for domain, rows in tables.items():
        number = {item: i for i, item in enumerate(truth.ids[domain])}
        for user, item in rows.select("user_id", "item_id").iter_rows():
            found.setdefault(people[user], set()).add((domain, number[item]))
    return found
