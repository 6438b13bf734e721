"""The prepare stage: raw tables to id-encoded interactions and hashed splits."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.data.dataset import PARTS, Catalogue
from bridgerec.data.encode import Say, encode_catalogue, encode_events
from bridgerec.data.split import Assignment, Pairs, assert_no_leakage, assign, collapse, split_hash
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
    pairs = collapse(events, len(catalogue))
    say(f"{len(pairs.user):,} distinct (person, item) pairs")
    splits = assign(events, pairs, catalogue, params)
    summary = {
        "domains": {
            d: {
                **counts[d],
                "items": len(range(*catalogue.block(d).indices(len(catalogue)))),
                "pairs": int(_inside(pairs.item, catalogue, d).sum()),
                "people": len(np.unique(pairs.user[_inside(pairs.item, catalogue, d)])),
            }
            for d in catalogue.domains
        },
        "people": len(people),
        "events": len(events.user),
        "pairs": len(pairs.user),
        "overlapping_people": _overlap(pairs, catalogue),
    }
    with atomic_folder(workspace.prepared) as folder:
        catalogue.items.write_parquet(folder / "items.parquet")
        pl.DataFrame({"user": np.arange(len(people)), "user_id": people}).write_parquet(
            folder / "users.parquet"
        )
        _rows(pairs, weight=pairs.weights()).write_parquet(folder / "interactions.parquet")
        (folder / "splits").mkdir()
        described = {}
        for split in splits:
            assert_no_leakage(split, pairs, catalogue)
            described[split.name] = _write_split(folder, split, pairs)
            say(f"split {split.name}: {described[split.name]['rows']}")
        write_json(folder / "splits.json", described)
        write_json(folder / "summary.json", summary)
    return summary


def _inside(item: NDArray[np.int32], catalogue: Catalogue, domain: str) -> NDArray[np.bool_]:
    block = catalogue.block(domain)
    inside: NDArray[np.bool_] = (item >= block.start) & (item < block.stop)
    return inside


def _overlap(pairs: Pairs, catalogue: Catalogue) -> int:
    """How many people have interactions in more than one domain."""
    domains = np.zeros(int(pairs.user.max()) + 1, dtype=np.int64)
    for domain in catalogue.domains:
        domains[np.unique(pairs.user[_inside(pairs.item, catalogue, domain)])] += 1
    return int((domains > 1).sum())


def _rows(pairs: Pairs, **columns: NDArray[Any]) -> pl.DataFrame:
    time = {} if pairs.timestamp is None else {"timestamp": pairs.timestamp}
    return pl.DataFrame({"user": pairs.user, "item": pairs.item, **time, **columns})


def _write_split(folder: Path, split: Assignment, pairs: Pairs) -> dict[str, Any]:
    rows = _rows(pairs)
    if split.rows is not None:
        rows = rows[split.rows]
    rows = rows.with_columns(
        pl.Series("weight", split.weight),
        pl.Series("part", split.part),
        pl.Series("fit", split.fit),
    )
    rows.write_parquet(folder / "splits" / f"{split.name}.parquet")
    sizes = np.bincount(split.part, minlength=len(PARTS)).tolist()
    return {
        **split.info,
        "targets": list(split.targets),
        "rows": dict(zip(PARTS, sizes, strict=True)),
        "fit_rows": int(split.fit.sum()),
        "hash": split_hash(split, pairs),
    }
