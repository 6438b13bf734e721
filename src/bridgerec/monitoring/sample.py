"""Rows that can be compared: the newest interaction of each history, of training and of the log.

Most of a history that people ask with is what the model learned from; only its end can tell that
something changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

COLUMNS = ("domain", "category", "popularity", "history_length")
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """`items` (n,) are indices (-1: in no catalogue); `frame` has the columns `COLUMNS`."""

    items: Ints
    frame: pl.DataFrame


def training_sample(
    items: pl.DataFrame, rows: pl.DataFrame, limit: int, size: int, rng: np.random.Generator
) -> Sample:
    """The newest interaction of each of at most `size` training people (`rows` are in order)."""
    people = rows.group_by("user", maintain_order=True).agg(
        pl.col("item").last(), pl.len().alias("length")
    )
    people = people[rng.permutation(people.height)[:size]]
    item = people["item"].to_numpy().astype(np.int64)
    length = people["length"].clip(upper_bound=limit).to_numpy()
    return Sample(item, _frame(items, rows, item, items["domain"].gather(item).to_list(), length))


def live_sample(
    items: pl.DataFrame,
    rows: pl.DataFrame,
    histories: Sequence[Sequence[tuple[str, str]]],
    rng: np.random.Generator,
) -> Sample:
    """The newest interaction of each history of the log, in random order."""
    index = {key: i for i, key in enumerate(zip(items["domain"], items["item_id"], strict=True))}
    order = rng.permutation(len(histories)).tolist()
    chosen = [histories[i][-1] for i in order]
    item = np.array([index.get(key, -1) for key in chosen], dtype=np.int64)
    length = np.array([len(histories[i]) for i in order])
    return Sample(item, _frame(items, rows, item, [domain for domain, _ in chosen], length))


def _frame(
    items: pl.DataFrame, rows: pl.DataFrame, item: Ints, domain: list[str], length: Any
) -> pl.DataFrame:
    bands = np.append(_bands(rows["item"].to_numpy(), items.height), "unknown")
    top = _top_categories(items, rows)
    return pl.DataFrame(
        {
            "domain": domain,
            "category": np.append(top, "unknown")[item].tolist(),
            "popularity": bands[item].tolist(),
            "history_length": np.asarray(length, dtype=np.float64),
        }
    )


def _bands(seen: NDArray[Any], n_items: int) -> NDArray[Any]:
    """head, middle, tail: items that make a third of the interactions each; new: none."""
    count = np.bincount(seen, minlength=n_items)
    order = np.argsort(-count, kind="stable")
    share = np.empty(n_items)
    share[order] = (np.cumsum(count[order]) - count[order]) / max(count.sum(), 1)
    bands = np.array(["head", "middle", "tail"])[np.minimum(share * 3, 2).astype(int)]
    return np.where(count > 0, bands, "new")


def _top_categories(items: pl.DataFrame, rows: pl.DataFrame, kept: int = 20) -> NDArray[Any]:
    """The top level of each item's category path; rare ones are "other"."""
    top = items.select(
        pl.col("category")
        .cast(pl.String)
        .fill_null("")
        .str.replace(r"\s*[>/|].*$", "")
        .str.strip_chars()
        .replace("", "none")
        .alias("top")
    )["top"]
    common = set(top.gather(rows["item"]).value_counts(sort=True)["top"].head(kept))
    names = [name if name in common else "other" for name in top]
    return np.array(names, dtype=object)
