"""The kinds of events, numbered over all domains."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.order import at

MOST_KINDS = 64  # of events; a table with more has something else in that column


def one_numbering(
    domains: Sequence[tuple[list[str | None], NDArray[np.integer[Any]]]],
) -> tuple[list[str | None], NDArray[np.integer[Any]]]:
    """From each domain's own kinds, and its rows' places among them, to one list of kinds and the
    places of all rows."""
    distinct = dict.fromkeys(name for names, _ in domains for name in names)
    place = {name: number for number, name in enumerate(distinct)}
    small = np.int8 if len(place) <= np.iinfo(np.int8).max else np.int32
    rows = [at(np.array([place[n] for n in names], dtype=small), code) for names, code in domains]
    return list(place), np.concatenate(rows)


def most_frequent(
    names: list[str | None], code: NDArray[np.integer[Any]]
) -> tuple[tuple[str, ...], NDArray[np.int8]]:
    """The names of the kinds, sorted, and each event's place among them; -1 for an event of none,
    and for all but the `MOST_KINDS` most frequent (of equals the first by name)."""
    often = np.bincount(code, minlength=len(names)).tolist()
    told = [(-often[i], name, i) for i, name in enumerate(names) if name is not None and often[i]]
    chosen = sorted((name, i) for _, name, i in sorted(told)[:MOST_KINDS])
    place = np.full(len(names), -1, dtype=np.int8)
    place[[i for _, i in chosen]] = np.arange(len(chosen))
    return tuple(name for name, _ in chosen), at(place, code)
