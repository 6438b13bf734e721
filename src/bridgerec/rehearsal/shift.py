"""The truth of the simulated world after its first year, and how it turns into another one.

With the shift a few themes rise: new items about them come into every catalogue, people's tastes
turn towards them, and what is popular is dealt anew, with the new items mostly in the upper half.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.simulate import DOMAINS, true_items
from bridgerec.data.simulation import words
from bridgerec.data.simulation.catalogue import SimulatedItems, add_prices, simulate_items
from bridgerec.data.simulation.people import probabilities, utilities
from bridgerec.runtime import read_json

RISING = 4  # themes
LEAD = 0.5  # how much further up new items stand than old ones, as a share of the catalogue
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What only the simulator knows.  `tastes` (people, themes), `active` (people, domains);
    `items` and `ids` by domain, in the same order."""

    people: list[str]
    tastes: Floats
    active: NDArray[np.bool_]
    items: dict[str, SimulatedItems]
    ids: dict[str, list[str]]

    @classmethod
    def read(cls, root: Path) -> "Truth":
        """The truth that `bridgerec simulate` wrote under `root`."""
        from safetensors.numpy import load_file

        meta = read_json(root / "truth" / "truth.json")
        arrays = load_file(root / "truth" / "truth.safetensors")
        items = {domain: true_items(root, domain) for domain in DOMAINS}
        active = arrays["active"].astype(bool)
        return cls(meta["users"], arrays["tastes"], active, items, meta["items"])

    def preferences(self, domain: str) -> Floats:
        """True preference probabilities, (people, items); rows sum to 1."""
        return probabilities(self.tastes, self.items[domain])

    def standardised(self, domain: str) -> Floats:
        """Log-preferences, (people, items), in standard deviations over everything."""
        found = utilities(self.tastes, self.items[domain])
        result: Floats = (found - found.mean()) / found.std()
        return result


@dataclass(frozen=True)
class Shift:
    """The world afterwards, and the `new` items of each domain as they are sent to the service."""

    truth: Truth
    themes: tuple[str, ...]
    new: dict[str, list[dict[str, Any]]]


def shift(before: Truth, new_items: float, turn: float, seed: int) -> Shift:
    """Another world: `new_items` is the share of each catalogue that is added, `turn` the share of
    everybody's taste that goes to the rising themes."""
    rng = np.random.default_rng([seed, 1])
    count = before.tastes.shape[1]
    rising = np.sort(rng.choice(count, RISING, replace=False))
    drawn = np.zeros_like(before.tastes)
    drawn[:, rising] = rng.dirichlet(np.full(RISING, 0.5), len(drawn))
    items, ids, new = {}, {}, {}
    for domain, old in before.items.items():
        added = _appear(domain, round(new_items * len(old.appeal)), rising, rng)
        items[domain] = _dealt(old, added, rng)
        ids[domain] = before.ids[domain] + [row["item_id"] for row in added.rows]
        new[domain] = added.rows
    truth = replace(before, tastes=(1 - turn) * before.tastes + turn * drawn, items=items, ids=ids)
    return Shift(truth, tuple(words.THEMES[theme].name for theme in rising), new)


def _appear(
    domain: str, wanted: int, rising: NDArray[np.int64], rng: np.random.Generator
) -> SimulatedItems:
    """`wanted` items whose main theme is a rising one, with ids that no first year uses."""
    made = simulate_items(domain, 2 * wanted * len(words.THEMES) // len(rising) + 50, rng)
    add_prices(domain, made, rng)
    which = np.flatnonzero(np.isin(made.themes.argmax(1), rising))[:wanted]
    rows = [
        {**made.rows[i], "item_id": f"{domain[0].upper()}9{number:04d}"}
        for number, i in enumerate(which.tolist())
    ]
    none = np.zeros(len(which))
    return SimulatedItems(rows, made.themes[which], none, none.astype(int), none.astype(bool))


def _dealt(old: SimulatedItems, new: SimulatedItems, rng: np.random.Generator) -> SimulatedItems:
    """Old and new items with places dealt anew; the ladder of appeal is the simulator's own."""
    lead = np.repeat([0.0, LEAD], [len(old.appeal), len(new.appeal)])
    place = np.argsort(np.argsort(rng.random(len(lead)) - lead))
    return SimulatedItems(
        [*old.rows, *new.rows],
        np.concatenate([old.themes, new.themes]),
        np.round(-0.7 * np.log(place + 10.0), 6),
        np.concatenate([old.released, new.released]),
        np.concatenate([old.cold, new.cold]),
    )
