"""Controlled chance in the lists, so that the log can tell what other orders would have earned.

A share of the answers gets an order that is drawn, all others stay as ranked.  Ranks 1 to n are
drawn by Plackett and Luce (Plackett 1975): the next place goes to one of those left, with a weight
of rank^-sharpness.  Weights belong to ranks and not to scores, so that the probabilities are
the same for every list of that length, whatever the model's scores mean, and are known before.

Off-policy estimates (`monitoring.offpolicy`) need the probability that an item stands at its place,
over all that could stand above it.  With exponential waiting times of rates w the order of arrival
is such a draw (Yellott 1977), and an item is k-th when just k-1 others came before it:

    P(i is k-th) = integral over t of w_i exp(-w_i t) P(k-1 of the others came before t)

which is computed to the last digits by the trapezoidal rule over log t.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
STEP = 0.125  # of log t; the rule's error falls exponentially with 1 / STEP
RULE = "Chance"  # how explanations name it


def drawn_places(n: int, sharpness: float) -> Floats:
    """The probability of each rank (row) to stand at each place (column) of a draw, (n, n)."""
    weight = np.arange(1, n + 1, dtype=np.float64) ** -sharpness
    time = np.exp(np.arange(np.log(1e-13), np.log(40 / weight[-1]) + STEP, STEP))[:, None]
    waits = np.exp(-weight * time)  # (times, n): not come yet
    came = np.zeros((n, len(time), n))  # of the others, how many: (item, time, count)
    came[:, :, 0] = 1
    for other in range(n):
        without = waits[:, other, None]
        more = came[:, :, :-1] * (1 - without)
        own = came[other].copy()
        came *= without
        came[:, :, 1:] += more
        came[other] = own  # an item does not wait for itself
    density = (weight * time * waits).T[:, :, None] * STEP
    found: Floats = (density * came).sum(axis=1)
    return found


class Chance:
    """Draws among the first `depth` ranks of a `share` of the answers; `sharpness` 0 shuffles them,
    the larger it is, the nearer the order stays."""

    def __init__(self, share: float, depth: int, sharpness: float) -> None:
        self.share, self.depth, self.sharpness = share, depth, sharpness
        self._places: dict[int, Floats] = {}
        self.places(depth)  # now, and not while somebody waits

    @classmethod
    def of(cls, options: Mapping[str, Any] | None) -> "Chance | None":
        """By `service.exploration`; None: lists stay as they are ranked."""
        return cls(**options) if options and options["share"] > 0 else None

    def places(self, n: int) -> Floats:
        """The probability of each rank (row) to stand at each place (column), (n, n)."""
        if n not in self._places:
            drawn = drawn_places(n, self.sharpness)
            self._places[n] = (1 - self.share) * np.eye(n) + self.share * drawn
        return self._places[n]

    def draw(self, request_id: str, items: Ints) -> tuple[Ints, Floats]:
        """An order for a ranked list (n,): the ranks, from 0, in their new order, and with which
        probability each stands at its place.  The same request and list give the same order."""
        order, n = np.arange(len(items)), min(len(items), self.depth)
        propensity = np.ones(len(items))
        if n == 0:
            return order, propensity
        seed = hashlib.sha256(request_id.encode("utf-8", "surrogatepass"))
        seed.update(items.astype("<i8").tobytes())  # whoever sends one id for all has chance too
        rng = np.random.default_rng(int.from_bytes(seed.digest()[:16], "big"))
        if rng.random() < self.share:
            arrival = rng.exponential(size=n) * np.arange(1, n + 1) ** self.sharpness
            order[:n] = np.argsort(arrival, kind="stable")
        propensity[:n] = self.places(n)[order[:n], np.arange(n)]
        return order, propensity
