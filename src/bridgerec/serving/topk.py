"""The k best of many scores, for a whole batch at once, exactly.

The items are dealt into groups.  The k-th largest of the groups' maxima is not above the k-th
largest score, so only groups that reach it can hold one of the k best: a few hundred numbers are
looked at instead of all.  That costs one pass over the scores; sorting is left for what remains.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
GROUP = 32  # items of one group; fewer where there are few items
GROUPS = 8  # at least so many groups per item that is asked for


class Best(NamedTuple):
    """One row's best: `places` (n,) columns, best first, equal ones by column; `scores` (n,)."""

    places: Ints
    scores: Floats

    @classmethod
    def nothing(cls) -> "Best":
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))


class Pairs(NamedTuple):
    """Candidates of a batch: `row`, `place` and `score`, each (pairs,)."""

    row: Ints
    place: Ints
    score: Floats


def hide(scores: Floats, hidden: Sequence[Sequence[int] | Ints]) -> None:
    """Put the columns `hidden[i]` of row i out of reach."""
    lengths = [len(own) for own in hidden]
    if any(lengths):
        rows = np.repeat(np.arange(len(hidden)), lengths)
        scores[rows, np.concatenate([np.asarray(own, dtype=np.int64) for own in hidden])] = -np.inf


def cells(chosen: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Rows and columns of what is true in a matrix, as `np.nonzero`, which is ten times slower."""
    place = np.flatnonzero(chosen)
    row = place // max(1, chosen.shape[1])
    return row, place - row * chosen.shape[1]


def at_least(scores: Floats, k: int, slack: Floats | float = 0.0) -> Pairs:
    """All that is at most `slack` (a number, or one per row) below the k-th best of its row, and
    perhaps a little more; `scores` (batch, n) in either memory order.  Hidden columns
    (-infinity) never come."""
    batch, n = scores.shape
    k = min(k, n)
    if k == 0 or batch == 0:
        nothing = np.empty(0, dtype=np.int64)
        return Pairs(nothing, nothing, np.empty(0, dtype=np.float32))
    size = max(1, min(GROUP, n // (GROUPS * k)))
    count = n // size
    # members of a group lie `count` apart, so that the maximum is taken over long runs
    grouped = scores[:, : size * count].reshape(batch, size, count)
    largest = np.ascontiguousarray(grouped.max(axis=1))
    bound = np.partition(largest, count - k, axis=1)[:, count - k] - slack
    bound = np.maximum(bound, np.finfo(np.float32).min)  # below: hidden ones
    row, group = cells(largest >= bound[:, None])
    place = (group[:, None] + count * np.arange(size)).ravel()
    row = np.repeat(row, size)
    if size * count < n:
        later, tail = cells(scores[:, size * count :] >= bound[:, None])
        row, place = np.append(row, later), np.append(place, tail + size * count)
    score = scores[row, place]
    kept = score >= bound[row]
    return Pairs(row[kept], place[kept], score[kept])


def sort(pairs: Pairs, batch: int, k: Sequence[int]) -> list[Best]:
    """The `k[i]` best pairs of each row i."""
    order = np.lexsort((pairs.place, -pairs.score, pairs.row))
    ends = np.searchsorted(pairs.row[order], np.arange(batch + 1))
    found = []
    for i in range(batch):
        own = order[ends[i] : min(ends[i + 1], ends[i] + k[i])]
        found.append(Best(pairs.place[own], pairs.score[own]))
    return found


def top_rows(
    scores: Floats, k: Sequence[int], hidden: Sequence[Sequence[int] | Ints]
) -> list[Best]:
    """The `k[i]` best of each row i without its `hidden[i]`; overwrites what is hidden."""
    hide(scores, hidden)
    return sort(at_least(scores, max(k, default=0)), len(scores), k)


def merge_best(one: Best, other: Best, later: int, k: int) -> Best:
    """The `k` best of two lists, where the places of the second begin at `later`."""
    places = np.concatenate([one.places, other.places + later])
    scores = np.concatenate([one.scores, other.scores])
    return sort(Pairs(np.zeros(len(places), dtype=np.int64), places, scores), 1, [k])[0]


def top_k(scores: NDArray[np.floating[Any]], open_: NDArray[np.bool_], k: int) -> Ints:
    """Columns of the k best scores among those that are `open_`, best first, equal by column."""
    kept = np.where(open_, scores, -np.inf).astype(np.float32)[None]
    return sort(at_least(kept, max(k, 0)), 1, [max(k, 0)])[0].places
