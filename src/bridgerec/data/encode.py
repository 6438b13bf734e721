"""From ids as text to ids as numbers: catalogue, people, and their events in time order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Params, Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.data.order import stable_order
from bridgerec.data.readers import collect, read_identities, read_interactions, read_items
from bridgerec.errors import DataError

Say = Callable[[str], None]
_KEPT = ("item", "weight")


@dataclass(frozen=True)
class Events:
    """All events with known items, sorted by person and then by time.

    `timestamp` is None when a domain has an order (`position`) only.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    timestamp: NDArray[np.int64] | None
    weight: NDArray[np.float32]


def encode_catalogue(workspace: Workspace, params: Params) -> Catalogue:
    """All items of all domains; inside a domain sorted by id, the first of equal ids kept."""
    frames = []
    for name, domain in params.data.domains.items():
        items = read_items(workspace, name, domain)
        if items.is_empty():
            raise DataError(f"{workspace.table(domain.items)} has no items of domain {name!r}.")
        items = items.filter(pl.col("item_id").is_not_null())
        items = items.unique("item_id", keep="first", maintain_order=True).sort("item_id")
        frames.append(items.select(pl.lit(name).alias("domain"), pl.all()))
    return Catalogue(pl.concat(frames))


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
        part, counts[name] = _encode_domain(workspace, params, catalogue, name, identities)
        parts.append(part)
    timed = all("timestamp" in part.columns for part in parts)
    placed = all("position" in part.columns for part in parts)
    if not timed and not placed:
        raise DataError(
            "some domains have only `timestamp` and others only `position`; all domains need "
            "the same one, or the merged order of a person's events is unknown."
        )
    people, user = encode_people(pl.concat([part["user"] for part in parts]))
    order = ["timestamp"] * timed + ["position"] * placed
    columns = {c: np.concatenate([p[c].to_numpy() for p in parts]) for c in (*order, *_KEPT)}
    del parts
    sorting = stable_order(user, *(columns[c] for c in order))
    return (
        people,
        Events(
            user[sorting],
            columns["item"][sorting],
            columns["timestamp"][sorting] if timed else None,
            columns["weight"][sorting],
        ),
        counts,
    )


def encode_people(ids: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """The distinct ids sorted, and for each row the place of its id among them.

    Works on 64-bit hashes, several times cheaper than the texts, and compares every text
    afterwards; should two ids ever share a hash, the texts themselves are encoded.
    """
    hashes = ids.hash().alias("hash")
    some_row = hashes.arg_unique()
    names = ids.gather(some_row)
    order = names.arg_sort()
    people = names.gather(order)
    table = pl.DataFrame(
        {"hash": hashes.gather(some_row.gather(order)), "code": np.arange(len(people), dtype="i4")}
    )
    found = hashes.to_frame().join(table, on="hash", how="left", maintain_order="left")["code"]
    if not (people.gather(found) == ids).all():
        people = ids.unique().sort()
        found = ids.cast(pl.Enum(people)).to_physical().cast(pl.Int32)
    return people, found.to_numpy()


def _encode_domain(
    workspace: Workspace,
    params: Params,
    catalogue: Catalogue,
    name: str,
    identities: pl.DataFrame | None,
) -> tuple[pl.DataFrame, dict[str, int]]:
    domain, block = params.data.domains[name], catalogue.block(name)
    columns = ("user_id", "item_id", "timestamp", "position", "kind")
    frame = read_interactions(workspace, name, domain, columns)
    present = frame.collect_schema().names()
    weights = params.prepare.event_weights
    weighted = bool(weights) and "kind" in present
    ids = pl.Enum(catalogue.items["item_id"][block.start : block.stop])
    wanted = frame.select(
        pl.col("user_id").alias("user"),
        # the physical code of an Enum is the row of the catalogue's block
        (
            pl.col("item_id").cast(ids, strict=False).to_physical().cast(pl.Int32) + block.start
        ).alias("item"),
        pl.col("kind").replace_strict(weights, default=1.0, return_dtype=pl.Float32).alias("weight")
        if weighted
        else pl.lit(1.0, dtype=pl.Float32).alias("weight"),
        *[c for c in ("timestamp", "position") if c in present],
    )
    rows = collect(wanted, workspace.table(domain.interactions))
    kept = rows.drop_nulls()
    if weighted:
        kept = kept.filter(pl.col("weight") > 0)
    if identities is not None:
        own = identities.filter(pl.col("domain") == name).rename({"user_id": "user"})
        own = own.unique("user", keep="first", maintain_order=True)  # validate refuses others
        kept = (
            kept.join(own.select("user", "person_id"), on="user", how="left", maintain_order="left")
            .with_columns(pl.coalesce("person_id", "user").alias("user"))
            .drop("person_id")
        )
    if kept.is_empty():
        raise DataError(
            f"domain {name!r}: none of its {rows.height} interactions has a known item, a user and "
            "a time. Look at reports/validation/summary.md; swapped columns are a usual cause."
        )
    return kept, {"rows": rows.height, "left_out": rows.height - kept.height}
