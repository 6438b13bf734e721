"""The split protocols: who may learn from which row, and what is asked.

Events become pairs (person, item) dated by their first event; a pair's weight sums the
events that lie in the same part as the first, so that no weight tells of the future.  Its kind is
that of the event among them that weighs most.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import KCore, Params
from bridgerec.data.dataset import Catalogue
from bridgerec.data.encode import Events
from bridgerec.data.order import at, stable_order
from bridgerec.errors import DataError


@dataclass(frozen=True)
class Pairs:
    """Distinct (person, item), sorted by person and then by the first event's time.

    `first` is the number of each pair's first event; `repeat` are the numbers of all other
    events, `pair_of_repeat` the pairs that they belong to.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    timestamp: NDArray[np.int64] | None
    first: NDArray[np.integer[Any]]
    repeat: NDArray[np.integer[Any]]
    pair_of_repeat: NDArray[np.int64]
    event_weight: NDArray[np.float32]
    event_kind: NDArray[np.int8] | None = None

    def weights(self, counted: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """The summed weight of each pair's first event and of its (counted) repeats."""
        weight = at(self.event_weight, self.first)
        if len(self.repeat) == 0:
            return weight
        more = self.event_weight[self.repeat]
        if counted is not None:
            more = more * counted
        total = np.bincount(self.pair_of_repeat, more, len(weight))
        return np.add(weight, total, out=weight, casting="same_kind")

    def kinds(self, counted: NDArray[np.bool_] | None = None) -> NDArray[np.int8] | None:
        """The kind of each pair's weightiest event among its first and its (counted) repeats, of
        equals the last; -1 where none is known.  None: the tables tell no kinds."""
        if self.event_kind is None:
            return None
        every = np.ones(len(self.repeat), dtype=bool) if counted is None else counted
        kind = at(self.event_kind, self.first)
        again = np.unique(self.pair_of_repeat[every])
        event = np.concatenate([self.first[again], self.repeat[every]])
        pair = np.concatenate([again, self.pair_of_repeat[every]])
        known = self.event_kind[event] >= 0  # an event of no kind gives way to any other
        order = np.lexsort((event, self.event_weight[event], known, pair))
        last = np.flatnonzero(np.diff(pair[order], append=len(self.first)))
        kind[again] = self.event_kind[event[order[last]]]
        return kind


@dataclass(frozen=True)
class Assignment:
    """One split over pairs `rows` (None: all of them)."""

    name: str
    targets: tuple[str, ...]
    rows: NDArray[np.int64] | None
    part: NDArray[np.int8]
    weight: NDArray[np.float32]
    fit: NDArray[np.bool_]
    info: dict[str, Any]
    kind: NDArray[np.int8] | None = None


def collapse(events: Events) -> Pairs:
    """Join the events of each (person, item)."""
    # events are sorted by person and time already: now equal pairs are neighbours, the earlier
    # event first
    order = stable_order(events.item)
    user = at(events.user, order)
    same = user[1:] == user[:-1]
    ends = np.cumsum(np.bincount(events.item))
    same[ends[(ends > 0) & (ends < len(order))] - 1] = False
    again = np.flatnonzero(same) + 1
    del user, same
    is_first = np.ones(len(order), dtype=bool)
    is_first[order[again]] = False
    first = np.flatnonzero(is_first).astype(order.dtype)
    # the third event of a pair stands two behind the first, so runs of `again` share a start
    start = np.maximum.accumulate(np.where(np.diff(again, prepend=-1) > 1, again - 1, 0))
    # events are numbered in time order of a person, so counting first events numbers the pairs
    pair_of_repeat = np.searchsorted(first, order[start])
    time = None if events.timestamp is None else at(events.timestamp, first)
    return Pairs(
        at(events.user, first),
        at(events.item, first),
        time,
        first,
        order[again],
        pair_of_repeat,
        events.weight,
        events.kind,
    )


def k_core(
    user: NDArray[np.int32], item: NDArray[np.int32], keep: NDArray[np.bool_], minimum: KCore
) -> NDArray[np.bool_]:
    """The largest subset of the kept rows in which every user and item has enough rows."""
    kept = keep.copy()
    user, item = user[keep], item[keep]
    while len(user):
        users, items = np.bincount(user), np.bincount(item)
        good_user, good_item = users >= minimum.user, items >= minimum.item
        if (good_user | (users == 0)).all() and (good_item | (items == 0)).all():
            break
        enough = at(good_user, user)
        enough &= at(good_item, item)
        user, item = user[enough], item[enough]
        kept[kept.copy()] = enough
    return kept


def temporal(events: Events, pairs: Pairs, params: Params) -> Assignment:
    """One cut time for all domains: train < t1 <= validation < t2 <= test."""
    if events.timestamp is None or pairs.timestamp is None:
        raise DataError(
            "the temporal protocol needs a `timestamp` in every domain. Add it, or remove "
            "`temporal` from split.protocols in params.yaml (and set gate.protocol)."
        )
    config, n = params.split, len(events.timestamp)
    places = [
        int(n * (1 - config.validation_fraction - config.test_fraction)),
        int(n * (1 - config.test_fraction)),
    ]
    cuts = np.partition(events.timestamp, places)[places]
    part, part_of_repeat = (
        (time >= cuts[0]).astype(np.int8) + (time >= cuts[1])
        for time in (pairs.timestamp, events.timestamp[pairs.repeat])
    )
    counted = part_of_repeat == part[pairs.pair_of_repeat]
    fit = k_core(pairs.user, pairs.item, part == 0, params.prepare.k_core)
    info = {"protocol": "temporal", "cuts": cuts.tolist()}
    return Assignment(
        "temporal", params.target_domains, None, part, pairs.weights(counted), fit, info,
        pairs.kinds(counted),
    )  # fmt: skip


def leave_last(events: Events, pairs: Pairs, params: Params) -> Assignment:
    """The last pair of each merged sequence is the test, the second last the validation."""
    users, start = np.unique(pairs.user, return_index=True)
    stop = np.append(start[1:], len(pairs.user))
    long = stop - start >= 3
    part = np.zeros(len(pairs.user), dtype=np.int8)
    part[stop[long] - 1] = 2
    part[stop[long] - 2] = 1
    horizon = np.full(int(users.max()) + 1, len(events.user), dtype=np.int64)
    horizon[users[long]] = pairs.first[stop[long] - 2]
    counted = pairs.repeat < horizon[events.user[pairs.repeat]]
    fit = k_core(pairs.user, pairs.item, part == 0, params.prepare.k_core)
    info = {"protocol": "leave_last"}
    return Assignment(
        "leave_last", params.target_domains, None, part, pairs.weights(counted), fit, info,
        pairs.kinds(counted),
    )  # fmt: skip


def cold_start(
    base: Assignment,
    pairs: Pairs,
    catalogue: Catalogue,
    params: Params,
    name: str,
    target: str,
    fraction: float,
) -> Assignment:
    """Hide every target row of a share of the overlapping people.

    Built on the training rows of `base`.  Half of the hidden people are asked in validation,
    the other half in test; a fraction of 1 leaves no overlap to learn from.
    """
    rows = np.flatnonzero(base.part == 0)
    user, item = pairs.user[rows], pairs.item[rows]
    block = catalogue.block(target)
    inside = (item >= block.start) & (item < block.stop)
    overlapping = np.intersect1d(user[inside], user[~inside])
    seed = [params.seed, params.target_domains.index(target), round(fraction * 10_000)]
    drawn = np.random.default_rng(seed).permutation(overlapping)
    hidden = drawn[: round(fraction * len(drawn))]
    asked = np.zeros(int(pairs.user.max()) + 1, dtype=np.int8)
    asked[hidden[: len(hidden) // 2]] = 1
    asked[hidden[len(hidden) // 2 :]] = 2
    part = np.where(inside, asked[user], 0).astype(np.int8)
    fit = k_core(user, item, part == 0, params.prepare.k_core)
    info = {"protocol": "cold_start", "fraction": fraction, "hidden_people": len(hidden)}
    kind = None if base.kind is None else base.kind[rows]
    return Assignment(name, (target,), rows, part, base.weight[rows], fit, info, kind)


def assign(events: Events, pairs: Pairs, catalogue: Catalogue, params: Params) -> list[Assignment]:
    """All splits that `params.split` asks for."""
    makers = {"temporal": temporal, "leave_last": leave_last}
    whole = [makers[p](events, pairs, params) for p in makers if p in params.split.protocols]
    named = cold_start_splits(params)
    if not named:
        return whole
    base = whole[0] if whole else leave_last(events, pairs, params)
    return whole + [cold_start(base, pairs, catalogue, params, *one) for one in named]


def cold_start_splits(params: Params) -> list[tuple[str, str, float]]:
    """Name, target and fraction of each cold-start split that `params.split` asks for; a domain
    alone has none."""
    if "cold_start" not in params.split.protocols or len(params.data.domains) < 2:
        return []
    return [
        (f"cold_start-{target}-{round(fraction * 100)}", target, fraction)
        for target in params.target_domains
        for fraction in params.split.cold_start_fractions
    ]


def check_parts(split: Assignment) -> None:
    """Raise `DataError` when nothing is left to learn from, or nothing is asked."""
    if not split.fit.any():
        raise DataError(
            f"split {split.name}: no training row is left. Lower prepare.k_core, or look at the "
            "timestamps (are they all alike?) and at split.validation_fraction and test_fraction."
        )
    if split.info["protocol"] == "cold_start":
        return  # empty where nobody overlaps, which validate has told
    for number, part in ((1, "validation"), (2, "test")):
        if not (split.part == number).any():
            raise DataError(
                f"split {split.name}: no row falls into {part}. Raise split.{part}_fraction, or "
                "remove the protocol from split.protocols."
            )


def assert_no_leakage(split: Assignment, pairs: Pairs, catalogue: Catalogue) -> None:
    """Raise `DataError` when a split breaks its own rule; cheap enough to run always."""
    rows = slice(None) if split.rows is None else split.rows
    user, item = pairs.user[rows], pairs.item[rows]
    wrong = bool((split.fit & (split.part != 0)).any())
    protocol = split.info["protocol"]
    if protocol == "temporal" and pairs.timestamp is not None:
        for cut, number in zip(split.info["cuts"], (1, 2), strict=True):
            wrong |= bool(((pairs.timestamp >= cut) != (split.part >= number)).any())
    elif protocol == "leave_last":
        same = user[1:] == user[:-1]
        wrong |= bool((split.part[1:] < split.part[:-1])[same].any())
        wrong |= any(int(np.bincount(user[split.part == p]).max(initial=0)) > 1 for p in (1, 2))
    elif protocol == "cold_start":
        block = catalogue.block(split.targets[0])
        inside = (item >= block.start) & (item < block.stop)
        known = user[inside & (split.part == 0)]
        wrong |= np.intersect1d(known, user[split.part > 0]).size > 0
        wrong |= np.intersect1d(user[split.part == 1], user[split.part == 2]).size > 0
    if wrong:
        raise DataError(f"split {split.name} leaks held-out rows into training; this is a defect.")


def split_hash(split: Assignment, pairs: Pairs) -> str:
    """sha256 over who, what, weight and part; equal for equal splits of equal data."""
    rows = slice(None) if split.rows is None else split.rows
    digest = hashlib.sha256(split.name.encode())
    kind = () if split.kind is None else (split.kind,)
    for array in (pairs.user[rows], pairs.item[rows], split.weight, split.part, split.fit, *kind):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
