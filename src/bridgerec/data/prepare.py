"""The prepare stage: raw tables to id-encoded interactions and hashed splits."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bridgerec.config import Params, Workspace
from bridgerec.data.dataset import PARTS, Catalogue
from bridgerec.data.encode import Say, encode_catalogue, encode_events
from bridgerec.data.order import slices
from bridgerec.data.readers import read_identities
from bridgerec.data.split import (
    Assignment,
    Pairs,
    assert_no_leakage,
    assign,
    check_parts,
    collapse,
    split_hash,
)
from bridgerec.data.suspicion import describe, set_aside
from bridgerec.runtime import atomic_folder, write_json


def prepare(workspace: Workspace, say: Say = lambda _: None) -> dict[str, Any]:
    """Write `artifacts/prepared`: items, users, interactions, splits; return the summary.

    Raises:
        DataError: a table cannot be read, or no usable interaction is left.
    """
    params = workspace.params
    catalogue = encode_catalogue(workspace, params)
    say(f"{len(catalogue):,} items in {len(catalogue.domains)} domains")
    people, events, counts = encode_events(workspace, params, catalogue)
    say(f"{len(events.user):,} events of {len(people):,} people")
    pairs = collapse(events)
    say(f"{len(pairs.user):,} distinct (person, item) pairs")
    splits = assign(events, pairs, catalogue, params)
    suspicious = None
    if params.prepare.suspicious is not None:
        splits, suspicious = _honest(splits, pairs, catalogue, params, say)
    summary = {**_summary(pairs, catalogue, counts), "events": len(events.user)}
    kinds = events.kinds
    del events
    with atomic_folder(workspace.prepared) as folder:
        catalogue.items.write_parquet(folder / "items.parquet")
        numbered = pl.DataFrame({"user": np.arange(len(people)), "user_id": people})
        numbered.write_parquet(folder / "users.parquet")
        if suspicious is not None:
            named = suspicious.join(numbered, on="user", how="left", maintain_order="left")
            named.write_parquet(folder / "suspicious.parquet")
        _accounts(workspace, numbered).write_parquet(folder / "accounts.parquet")
        time = {} if pairs.timestamp is None else {"timestamp": pairs.timestamp}
        kind = _kind(pairs.kinds())
        _write(
            folder / "interactions.parquet",
            {"user": pairs.user, "item": pairs.item, **time, "weight": pairs.weights(), **kind},
        )
        (folder / "splits").mkdir()
        described = {}
        for split in splits:
            check_parts(split)
            assert_no_leakage(split, pairs, catalogue)
            described[split.name] = _write_split(folder, split, pairs, kinds)
            say(f"split {split.name}: {described[split.name]['rows']}")
        write_json(folder / "splits.json", described)
        write_json(folder / "summary.json", summary)
    return summary


def _honest(
    splits: list[Assignment], pairs: Pairs, catalogue: Catalogue, params: Params, say: Say
) -> tuple[list[Assignment], pl.DataFrame]:
    """The splits without suspicious people's rows, and who they are."""
    assert params.prepare.suspicious is not None
    threshold, minimum = params.prepare.suspicious.threshold, params.prepare.k_core
    domain = catalogue.domain_of(np.arange(len(catalogue)))
    made = [set_aside(split, pairs, domain, threshold, minimum) for split in splits]
    kept, tables = zip(*made, strict=True)
    for split, table in zip(splits, tables, strict=True):
        say(f"split {split.name}: {describe(table)}")
    return list(kept), pl.concat(tables)


def _accounts(workspace: Workspace, people: pl.DataFrame) -> pl.DataFrame:
    """Which account of which domain belongs to which person; empty without identities."""
    if workspace.params.data.identities is None:
        return pl.DataFrame(schema={"domain": pl.String, "user_id": pl.String, "user": pl.Int64})
    accounts = read_identities(workspace, workspace.params.data.identities)
    return (
        accounts.unique(["domain", "user_id"], keep="first", maintain_order=True)
        .join(people.rename({"user_id": "person_id"}), on="person_id", maintain_order="left")
        .select("domain", "user_id", "user")
    )


def _summary(pairs: Pairs, catalogue: Catalogue, counts: dict[str, Any]) -> dict[str, Any]:
    """How much there is of what, per domain and in all."""
    present = np.zeros((len(catalogue.domains), int(pairs.user.max()) + 1), dtype=bool)
    sizes = np.zeros(len(catalogue.domains), dtype=np.int64)
    for part in slices(len(pairs.user)):
        domain = catalogue.domain_of(pairs.item[part])
        present[domain, pairs.user[part]] = True
        sizes += np.bincount(domain, minlength=len(sizes))
    domains = {}
    for number, name in enumerate(catalogue.domains):
        block = catalogue.block(name)
        domains[name] = {
            **counts[name],
            "items": block.stop - block.start,
            "pairs": int(sizes[number]),
            "people": int(present[number].sum()),
        }
    return {
        "domains": domains,
        "people": int(present.any(axis=0).sum()),
        "pairs": len(pairs.user),
        "overlapping_people": int((present.sum(axis=0) > 1).sum()),
    }


def _write(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    # lz4: read again by every stage, and a third of the processor time of zstd; it finds nothing
    # in the items.  pyarrow, because polars tries a dictionary for every column, and that takes
    # longer than all the rest.
    packing = {c: "none" if c == "item" else "lz4" for c in columns}
    rising = {c: "DELTA_BINARY_PACKED" for c in ("user", "row") if c in columns}
    table = pa.table(columns)
    pq.write_table(table, path, compression=packing, use_dictionary=False, column_encoding=rising)


def _kind(kind: NDArray[np.int8] | None) -> dict[str, NDArray[Any]]:
    return {} if kind is None else {"event_kind": kind}


def _write_split(
    folder: Path, split: Assignment, pairs: Pairs, kinds: tuple[str, ...]
) -> dict[str, Any]:
    """Write the split's columns, which run along `interactions.parquet` or its rows `row`;
    `kinds` are the names of the kinds of events."""
    rows = {} if split.rows is None else {"row": split.rows}
    _write(
        folder / "splits" / f"{split.name}.parquet",
        {
            **rows,
            "weight": split.weight,
            "part": split.part,
            "fit": split.fit,
            **_kind(split.kind),
        },
    )
    sizes = np.bincount(split.part, minlength=len(PARTS)).tolist()
    return {
        **split.info,
        **({"event_kinds": list(kinds)} if kinds else {}),
        "targets": list(split.targets),
        "rows": dict(zip(PARTS, sizes, strict=True)),
        "fit_rows": int(split.fit.sum()),
        "hash": split_hash(split, pairs),
    }
