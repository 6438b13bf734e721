"""Clicks under a policy whose every probability is known, by people whose tastes are known.

A list has slots; each slot draws one of its own choices of items, so that propensities are exact
and no item occurs twice.  People look at lower slots less often, and click what they look at with a
probability that their true preference decides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.simulation.catalogue import SimulatedItems
from bridgerec.data.simulation.people import utilities

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
EAGERNESS = 1.5  # utilities above the rest that make a click as likely as not


@dataclass(frozen=True)
class ClickLog:
    """n impressions, the slots of a request side by side; `choice` is the drawn one of its slot."""

    request: Ints
    person: Ints
    slot: Ints
    choice: Ints
    item: Ints
    propensity: Floats
    clicked: NDArray[np.bool_]


@dataclass(frozen=True)
class ClickWorld:
    """`items` (slots, choices) are item numbers, `utility` (people, slots, choices) standardised
    log-preferences, `examination` (slots,) how often a slot is looked at."""

    items: Ints
    utility: Floats
    examination: Floats

    @classmethod
    def of(
        cls,
        tastes: Floats,
        items: SimulatedItems,
        slots: int,
        choices: int,
        rng: np.random.Generator,
    ) -> "ClickWorld":
        chosen = rng.permutation(len(items.appeal))[: slots * choices].reshape(slots, choices)
        utility = utilities(tastes, items)[:, chosen]
        utility = (utility - utility.mean()) / utility.std()
        return cls(chosen, utility, 1 / np.arange(1, slots + 1) ** 0.7)

    def policy(self, sharpness: float, scores: Floats | None = None) -> Floats:
        """Softmax probabilities (people, slots, choices) of `scores` (default: the utilities);
        0 chooses blindly, below 0 the worst."""
        logits = sharpness * (self.utility if scores is None else scores)
        found: Floats = np.exp(logits - logits.max(2, keepdims=True))
        found /= found.sum(2, keepdims=True)
        return found

    def click_probability(self) -> Floats:
        """Shape (people, slots, choices)."""
        looked = self.examination[None, :, None]
        found: Floats = looked / (1 + np.exp(EAGERNESS - self.utility))
        return found

    def value(self, policy: Floats) -> float:
        """The true mean of clicks per impression, everybody asking equally often."""
        return float((policy * self.click_probability()).sum(2).mean())

    def draw(self, policy: Floats, requests: int, rng: np.random.Generator) -> ClickLog:
        people, slots, _ = policy.shape
        person = np.repeat(rng.integers(people, size=requests), slots)
        slot = np.tile(np.arange(slots), requests)
        cumulative = np.cumsum(policy[person, slot], axis=1)
        drawn = rng.random((len(person), 1)) * cumulative[:, -1:]
        choice = (cumulative < drawn).sum(1)
        return ClickLog(
            request=np.repeat(np.arange(requests), slots),
            person=person,
            slot=slot,
            choice=choice,
            item=self.items[slot, choice],
            propensity=policy[person, slot, choice],
            clicked=rng.random(len(person)) < self.click_probability()[person, slot, choice],
        )
