"""From ids as text to ids as numbers: catalogue, people, and their events in time order."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Params, Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.data.ids import distinct, encode_people
from bridgerec.data.kinds import most_frequent, one_numbering
from bridgerec.data.order import at, stable_order
from bridgerec.data.readers import (
    collect,
    read_identities,
    read_interactions,
    read_items,
    separable,
)
from bridgerec.errors import DataError

Say = Callable[[str], None]
_TIMES = ("timestamp", "position")


@dataclass(frozen=True)
class Events:
    """All events with known items, sorted by person and then by time.

    `timestamp` is None when a domain has an order (`position`) only.  `kind` is each event's place
    in `kinds`, or -1; None when no table has kinds.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    timestamp: NDArray[np.int64] | None
    weight: NDArray[np.float32]
    kind: NDArray[np.int8] | None = None
    kinds: tuple[str, ...] = ()


def encode_catalogue(workspace: Workspace, params: Params) -> Catalogue:
    """All items of all domains; inside a domain sorted by id, the first of equal ids kept.  There
    is a column `language` where any domain's table has it."""
    frames = []
    for name, domain in params.data.domains.items():
        items = read_items(workspace, name, domain)
        if items.is_empty():
            raise DataError(f"{workspace.table(domain.items)} has no items of domain {name!r}.")
        items = items.filter(pl.col("item_id").is_not_null())
        items = items.unique("item_id", keep="first", maintain_order=True).sort("item_id")
        frames.append(items.select(pl.lit(name).alias("domain"), pl.all()))
    # null where a domain tells no language
    return Catalogue(pl.concat(frames, how="diagonal"))


@dataclass(frozen=True)
class _Rows:
    """Usable rows of one domain: `user` are places in `people`, `kind` in `kinds`; `times` are the
    table's `timestamp` and `position`.  `kinds` is None when the table has no such column."""

    people: pl.Series
    user: NDArray[np.uint32]
    item: NDArray[np.int32]
    times: dict[str, NDArray[np.int64]]
    kinds: list[str | None] | None
    kind: NDArray[np.uint32]


def encode_events(
    workspace: Workspace, params: Params, catalogue: Catalogue
) -> tuple[pl.Series, Events, dict[str, Any]]:
    """Read and encode the interactions of all domains.

    Returns the sorted person ids, the events, and per domain how many rows were read and how
    many were left out (unknown item, no user, no time, kind with weight 0).
    """
    identities = None
    if params.data.identities:
        identities = read_identities(workspace, params.data.identities)
    parts, counts = [], {}
    for name in params.data.domains:
        rows, read = _read_domain(workspace, params, catalogue, name)
        counts[name] = {"rows": read, "left_out": read - len(rows.user)}
        if identities is not None:
            own = identities.filter(pl.col("domain") == name)
            rows = replace(rows, people=_persons(rows.people, own))
        parts.append(rows)
    del rows
    order = [c for c in _TIMES if all(c in part.times for part in parts)]
    if not order:
        raise DataError(
            "some domains have only `timestamp` and others only `position`; all domains need "
            "the same one, or the merged order of a person's events is unknown."
        )
    # a domain's people are numbered already; only their distinct ids have to be brought together
    people, place = encode_people(pl.concat([part.people for part in parts]))
    places = np.split(place, np.cumsum([len(part.people) for part in parts])[:-1])
    columns: dict[str, NDArray[Any]] = {
        "user": np.concatenate([at(p, part.user) for p, part in zip(places, parts, strict=True)]),
        "item": np.concatenate([part.item for part in parts]),
        **{c: np.concatenate([part.times[c] for part in parts]) for c in order},
    }
    told = any(part.kinds is not None for part in parts)
    names, columns["kind"] = one_numbering([(p.kinds or [None], p.kind) for p in parts])
    del parts
    sorting = stable_order(columns["user"], *(columns[c] for c in order))
    # sorted numbers follow from how often each occurs
    often = np.bincount(columns.pop("user"))
    for name in columns:  # one by one, so that each takes the memory of the one before
        columns[name] = at(columns[name], sorting)
    kinds, kind = most_frequent(names, columns["kind"])
    return (
        people,
        Events(
            np.repeat(np.arange(len(people), dtype=np.int32), often),
            columns["item"],
            columns.get("timestamp"),
            at(_weights(names, params), columns["kind"]),
            kind if told else None,
            kinds,
        ),
        counts,
    )


def _read_domain(
    workspace: Workspace, params: Params, catalogue: Catalogue, name: str
) -> tuple[_Rows, int]:
    """The domain's usable rows, and how many rows there are.

    Texts take several times the memory of their numbers, so one column is read after the other.
    """
    domain = params.data.domains[name]
    path = workspace.table(domain.interactions)
    columns = ("user_id", "item_id", *_TIMES, "kind")
    frame = separable(read_interactions(workspace, name, domain, columns), path)
    present = frame.collect_schema().names()

    def read(column: str) -> pl.Series:
        return collect(frame.select(column), path).to_series()

    people, user = distinct(read("user_id"))
    item = _item_numbers(read("item_id"), catalogue, name)
    usable = item >= 0
    if people.null_count():
        usable &= at(people.is_not_null().to_numpy(), user)
    times = {}
    for column in (c for c in _TIMES if c in present):
        time = read(column)
        if time.null_count():
            usable &= time.is_not_null().to_numpy()
        times[column] = time.fill_null(0).to_numpy()
    kinds, kind = None, np.zeros(len(user), dtype=np.uint32)
    if "kind" in present:
        found, kind = distinct(read("kind"))
        kinds = found.to_list()
        weighs = _weights(kinds, params) > 0
        if not weighs.all():
            usable &= at(weighs, kind)
    if not usable.any():
        raise DataError(
            f"domain {name!r}: none of its {len(user)} interactions has a known item, a user and "
            "a time. Look at reports/validation/summary.md; swapped columns are a usual cause."
        )
    rows = _Rows(people, user, item, times, kinds, kind)
    return rows if usable.all() else _only(rows, usable), len(user)


def _only(rows: _Rows, usable: NDArray[np.bool_]) -> _Rows:
    """Some of the rows, and only people who have one of them."""
    user = rows.user[usable]
    present = np.bincount(user, minlength=len(rows.people)) > 0
    return _Rows(
        rows.people.filter(pl.Series(present)),
        at((np.cumsum(present) - 1).astype(np.uint32), user),
        rows.item[usable],
        {column: time[usable] for column, time in rows.times.items()},
        rows.kinds,
        rows.kind[usable],
    )


def _weights(kinds: list[str | None], params: Params) -> NDArray[np.float32]:
    """What an event of each kind weighs."""
    weights = params.prepare.event_weights
    return np.array([1.0 if k is None else weights.get(k, 1.0) for k in kinds], dtype=np.float32)


def _item_numbers(ids: pl.Series, catalogue: Catalogue, domain: str) -> NDArray[np.int32]:
    """The items' places in the catalogue; -1 where the domain has no such item."""
    block = catalogue.block(domain)
    known = pl.Enum(catalogue.items["item_id"][block.start : block.stop])
    names, code = distinct(ids)
    # the physical code of an Enum is the row of the catalogue's block
    number = names.cast(known, strict=False).to_physical().cast(pl.Int32) + block.start
    return at(number.fill_null(-1).to_numpy(), code)


def _persons(accounts: pl.Series, identities: pl.DataFrame) -> pl.Series:
    """To whom each account belongs; one without an entry to the person of the same id."""
    own = identities.unique("user_id", keep="first", maintain_order=True)  # validate refuses others
    joined = accounts.to_frame("user_id").join(own, on="user_id", how="left", maintain_order="left")
    return joined["person_id"].zip_with(joined["person_id"].is_not_null(), joined["user_id"])
