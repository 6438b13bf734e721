"""From ids as text to ids as numbers: catalogue, people, and their events in time order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Params, Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.data.ids import distinct, encode_people
from bridgerec.data.order import at, stable_order
from bridgerec.data.readers import collect, read_identities, read_interactions, read_items
from bridgerec.errors import DataError

Say = Callable[[str], None]
MOST_KINDS = 64  # of events; a table with more has something else in that column


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
    names, parts, counts = [], [], {}
    for name in params.data.domains:
        own, part, counts[name] = _encode_domain(workspace, params, catalogue, name, identities)
        names.append(own)
        parts.append(part)
    timed = all("timestamp" in part.columns for part in parts)
    placed = all("position" in part.columns for part in parts)
    if not timed and not placed:
        raise DataError(
            "some domains have only `timestamp` and others only `position`; all domains need "
            "the same one, or the merged order of a person's events is unknown."
        )
    # a domain's people are numbered already; only their distinct ids have to be brought together
    people, place = encode_people(pl.concat(names))
    ends = np.cumsum([len(own) for own in names])
    places = np.split(place, ends[:-1])
    user = np.concatenate(
        [at(p, part["user"].to_numpy()) for p, part in zip(places, parts, strict=True)]
    )
    order = ["timestamp"] * timed + ["position"] * placed
    columns = pl.concat([part.select(*order, "item", "weight") for part in parts], rechunk=True)
    sorting = stable_order(user, *(columns[c].to_numpy() for c in order))
    kinds, kind = _event_kinds(parts)
    del parts
    return (
        people,
        Events(
            # sorted numbers follow from how often each occurs
            np.repeat(np.arange(len(people), dtype=np.int32), np.bincount(user)),
            at(columns["item"].to_numpy(), sorting),
            at(columns["timestamp"].to_numpy(), sorting) if timed else None,
            at(columns["weight"].to_numpy(), sorting),
            None if kind is None else at(kind, sorting),
            kinds,
        ),
        counts,
    )


def _event_kinds(parts: list[pl.DataFrame]) -> tuple[tuple[str, ...], NDArray[np.int8] | None]:
    """The names of the kinds, sorted, and each event's place among them; -1 for an event of none,
    and for all but the `MOST_KINDS` most frequent."""
    if not any("kind" in part.columns for part in parts):
        return (), None
    told = [
        p["kind"] if "kind" in p.columns else pl.repeat(None, len(p), dtype=pl.String, eager=True)
        for p in parts
    ]
    names, code = distinct(pl.concat(told))
    often = np.bincount(code, minlength=len(names))
    chosen = [i for i in np.argsort(-often, kind="stable").tolist() if names[i] is not None]
    chosen = sorted(chosen[:MOST_KINDS], key=lambda i: str(names[i]))
    place = np.full(len(names), -1, dtype=np.int8)
    place[chosen] = np.arange(len(chosen))
    return tuple(str(names[i]) for i in chosen), place[code]


def _encode_domain(
    workspace: Workspace,
    params: Params,
    catalogue: Catalogue,
    name: str,
    identities: pl.DataFrame | None,
) -> tuple[pl.Series, pl.DataFrame, dict[str, int]]:
    """The domain's people, its usable rows with `user` as a place among them, and the counts."""
    domain = params.data.domains[name]
    columns = ("user_id", "item_id", "timestamp", "position", "kind")
    frame = read_interactions(workspace, name, domain, columns)
    present = frame.collect_schema().names()
    weights = params.prepare.event_weights
    weighted = bool(weights) and "kind" in present
    wanted = frame.select(
        "user_id",
        "item_id",
        pl.col("kind").replace_strict(weights, default=1.0, return_dtype=pl.Float32).alias("weight")
        if weighted
        else pl.lit(1.0, dtype=pl.Float32).alias("weight"),
        *[c for c in ("timestamp", "position", "kind") if c in present],
    )
    rows = collect(wanted, workspace.table(domain.interactions))
    item = _item_numbers(rows["item_id"], catalogue, name)
    needed = [c for c in rows.columns if c not in ("item_id", "kind")]
    kept = rows.drop("item_id").with_columns(item).drop_nulls([*needed, "item"])
    if weighted:
        kept = kept.filter(pl.col("weight") > 0)
    if kept.is_empty():
        raise DataError(
            f"domain {name!r}: none of its {rows.height} interactions has a known item, a user and "
            "a time. Look at reports/validation/summary.md; swapped columns are a usual cause."
        )
    names, code = distinct(kept["user_id"])
    if identities is not None:
        names = _persons(names, identities.filter(pl.col("domain") == name))
    part = kept.drop("user_id").with_columns(pl.Series("user", code))
    return names, part, {"rows": rows.height, "left_out": rows.height - kept.height}


def _item_numbers(ids: pl.Series, catalogue: Catalogue, domain: str) -> pl.Series:
    """The items' places in the catalogue; null where the domain has no such item."""
    block = catalogue.block(domain)
    known = pl.Enum(catalogue.items["item_id"][block.start : block.stop])
    names, code = distinct(ids)
    # the physical code of an Enum is the row of the catalogue's block
    number: pl.Series = names.cast(known, strict=False).to_physical().cast(pl.Int32) + block.start
    return number.gather(code).alias("item")


def _persons(accounts: pl.Series, identities: pl.DataFrame) -> pl.Series:
    """To whom each account belongs; one without an entry is a person of its own."""
    own = identities.unique("user_id", keep="first", maintain_order=True)  # validate refuses others
    joined = accounts.to_frame("user_id").join(own, on="user_id", how="left", maintain_order="left")
    return joined["person_id"].zip_with(joined["person_id"].is_not_null(), joined["user_id"])
