"""How many lists of an inverted file to look into, chosen for the vectors and people at hand.

What one number finds differs from catalogue to catalogue: it depends on how the vectors lie, on
what popularity weighs, and on where people are between the items.  So when a release is packaged
its own people are asked, exactly and by the lists, and the fewest lists are kept that surely find
enough.  By recall alone: a choice by the clock would differ from run to run.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridgerec.serving.index import Hidden, Index
from bridgerec.serving.topk import Floats

RECALL = 0.98  # of the exact list
DEPTH = 100  # items of a list
PEOPLE = 2000  # are asked, at most
FINE = 1 / 32  # of the number of lists: no more than is needed by so much
SURE = 2.0  # standard errors that the mean must be above `RECALL`


class Asked(NamedTuple):
    """People's questions: `queries` (people, d), `weights` (people, e), and the places that are
    not shown to each."""

    queries: Floats
    weights: Floats
    hidden: Hidden


def choose(exact: Index, inverted: Index, asked: Asked, least: float = RECALL) -> int:
    """The fewest lists that find `least` of the exact lists of `DEPTH`, with a margin for having
    asked a sample only; all lists where no number does.  `inverted` looks into them from now on;
    where there is nobody to ask, into as many as before."""
    probes = inverted.probes
    if not len(asked.queries):
        return probes
    k = [DEPTH] * len(asked.queries)
    wanted = exact.top(asked.queries, asked.weights, k, asked.hidden)

    def enough(probes: int) -> bool:
        inverted.probe(probes)
        found = inverted.top(asked.queries, asked.weights, k, asked.hidden)
        recall = reached([b.scores for b in found], [b.scores for b in wanted])
        return bool(recall.mean() - SURE * recall.std() / np.sqrt(len(recall)) >= least)

    low, high = 0, 1  # too few, and perhaps enough
    while not enough(high) and high < inverted.lists:
        low, high = high, min(inverted.lists, 2 * high)
    while high - low > max(1, FINE * high):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    inverted.probe(high)
    return high


def reached(found: list[Floats], wanted: list[Floats]) -> NDArray[np.float64]:
    """Which share of each list of `wanted` scores is matched by the `found` ones; equal scores
    stand in for each other.  (lists,); of nothing all is found."""
    return np.array(
        [
            np.count_nonzero(f >= w[-1]) / len(w) if len(w) else 1.0
            for f, w in zip(found, wanted, strict=True)
        ]
    )
