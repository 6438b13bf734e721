"""The columns that the suites look at: one row per raw row, standard names, plain types."""

from typing import Any

import polars as pl

from bridgerec.config import Domain, Workspace
from bridgerec.data import schema
from bridgerec.data.readers import read_interactions, read_items
from bridgerec.data.readers.tables import standard_columns

# what appears when UTF-8 is read as Latin-1 or Windows-1252, and the replacement character
MOJIBAKE = "Ã[\u0080-\u00bf©¨¤¶¼Ÿ]|â€[™œ\u009d“”¦]|\ufffd|ï»¿|å[\u0080-\u00bf]{2}"
PLAUSIBLE = (631_152_000, 4_102_444_800)  # 1990 to 2100


def interactions(workspace: Workspace, name: str, domain: Domain) -> pl.DataFrame:
    """`user_id, item_id` (text), `timestamp` (seconds) and `raw_timestamp` where there is one,
    `position`, `kind`, `value`, and `duplicate` (an exact copy of an earlier row)."""
    frame = read_interactions(workspace, name, domain).collect()
    ids = pl.col("user_id", "item_id")
    frame = frame.with_columns(pl.when(ids.str.strip_chars() != "").then(ids))  # "" is no id
    order = [c for c in ("timestamp", "position") if c in frame.columns]
    keys = ["user_id", "item_id", *order, *(["kind"] if "kind" in frame.columns else [])]
    frame = frame.with_columns((~pl.struct(keys).is_first_distinct()).alias("duplicate"))
    if "timestamp" in frame.columns:
        path = workspace.table(domain.interactions)
        raw = standard_columns(
            path, domain.interaction_columns, schema.INTERACTION_COLUMNS, name
        ).select("timestamp")
        if raw.collect_schema()["timestamp"].is_numeric():
            frame = frame.with_columns(raw.collect()["timestamp"].alias("raw_timestamp"))
    return frame


def items(workspace: Workspace, name: str, domain: Domain) -> pl.DataFrame:
    """Catalogue columns plus `text` (all texts joined) and `mojibake`."""
    frame = read_items(workspace, name, domain)
    text = pl.concat_str([pl.col(c) for c in schema.TEXT_COLUMNS], separator=" ").str.strip_chars()
    return frame.with_columns(
        text.alias("text"), text.str.contains(MOJIBAKE).alias("mojibake")
    ).with_columns(
        pl.when(pl.col("title").str.strip_chars() == "")
        .then(None)
        .otherwise("title")
        .alias("title")
    )


def examples(frame: pl.DataFrame, mask: pl.Expr, n: int) -> tuple[int, list[dict[str, Any]]]:
    """How many rows fit, and the first `n` of them with their row numbers (from 1)."""
    found = frame.with_row_index("row", offset=1).filter(mask)
    hidden = [c for c in ("duplicate", "mojibake", "text", "raw_timestamp") if c in found.columns]
    return found.height, found.head(n).drop(hidden).to_dicts()
