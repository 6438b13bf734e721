"""The columns that the suites look at: one row per raw row, standard names, plain types."""

from typing import Any

import polars as pl

from bridgerec.config import Domain, Workspace
from bridgerec.data import schema
from bridgerec.data.readers import (
    collect,
    raw_interactions,
    raw_items,
    typed_interactions,
    typed_items,
)
from bridgerec.data.readers.convert import number
from bridgerec.validation.finding import Finding
from bridgerec.validation.mojibake import mojibake
from bridgerec.validation.texts import check_texts

# what an expectation may name
COLUMNS = {
    "interactions": (*schema.INTERACTION_COLUMNS, "raw_timestamp", "duplicate"),
    "items": (*schema.ITEM_COLUMNS, "text", "mojibake"),
}
_MISTYPED_SHARE = 0.01  # more: critical
_MISTYPED = {
    "timestamp": (
        "times that are neither numbers nor ISO 8601",
        "Write them as numbers or as 2024-05-31T12:00:00Z; rows without a time are left out",
    ),
    "value": ("values that are no numbers", "Write plain numbers; these are read as missing"),
    "position": ("positions that are no whole numbers", "Write whole numbers"),
    "price": (
        "prices that are no numbers from 0 on",
        "Write plain numbers without a currency sign; these are read as missing",
    ),
}


def interactions(
    workspace: Workspace, name: str, domain: Domain, n: int
) -> tuple[pl.DataFrame, list[Finding]]:
    """`user_id, item_id` (text), `timestamp` (seconds) and `raw_timestamp` where it is a number,
    `position`, `kind`, `value`, and `duplicate` (an exact copy of an earlier row); and findings
    about what does not fit its type."""
    path = workspace.table(domain.interactions)
    raw = collect(raw_interactions(workspace, name, domain), path)
    frame = collect(typed_interactions(raw.lazy(), domain, path), path)
    order = [c for c in ("timestamp", "position") if c in frame.columns]
    keys = ["user_id", "item_id", *order, *(["kind"] if "kind" in frame.columns else [])]
    frame = frame.with_columns((~pl.struct(keys).is_first_distinct()).alias("duplicate"))
    found = [*mistyped(name, raw, frame, n).values()]
    kind = raw.schema.get("timestamp", pl.Null())
    if kind.is_numeric() or kind == pl.String:
        numbers = raw.select(number("timestamp", kind).fill_nan(None)).to_series()
        frame = frame.with_columns(numbers.alias("raw_timestamp"))
    return frame, found


def mistyped(name: str, raw: pl.DataFrame, frame: pl.DataFrame, n: int) -> dict[str, Finding]:
    """For each column of the table `raw` with values that became null in `frame`, which has the
    standard types: a finding about the rows, of which `n` are shown."""
    found = {}
    for column in (c for c in _MISTYPED if c in raw.columns):
        given = raw[column].is_not_null()
        if raw.schema[column] == pl.String:
            given &= raw[column].str.strip_chars() != ""
        if column in ("value", "price"):  # NaN is a usual sign for "none"
            numbers = raw.select(number(column, raw.schema[column])).to_series()
            given &= ~numbers.is_nan().fill_null(False)
        ids = [c for c in ("user_id", "item_id") if c in raw.columns]
        shown = raw.select(
            pl.int_range(1, pl.len() + 1).alias("row"), *ids, pl.col(column).cast(pl.String)
        ).filter(given & frame[column].is_null())  # fmt: skip
        if shown.is_empty():
            continue
        message, remedy = _MISTYPED[column]
        # nothing is lost with a price: no row is left out
        critical = column != "price" and shown.height > _MISTYPED_SHARE * raw.height
        found[column] = Finding(
            name, "items" if column == "price" else "interactions", f"mistyped_{column}",
            "critical" if critical else "warning", f"{column} holds {message}", remedy,
            shown.height, raw.height, shown.head(n).to_dicts(),
        )  # fmt: skip
    return found


def items(
    workspace: Workspace, name: str, domain: Domain, n: int
) -> tuple[pl.DataFrame, list[Finding]]:
    """Catalogue columns ("" where a text is missing, but null for a blank title) plus `text` (all
    texts joined) and `mojibake`; and findings about prices that are none and texts that say
    nothing."""
    path = workspace.table(domain.items)
    raw = collect(raw_items(workspace, name, domain), path)
    frame = collect(typed_items(raw.lazy()), path)
    found = [*mistyped(name, raw, frame, n).values(), *check_texts(name, raw, n)]
    frame = frame.with_columns(pl.col(pl.String).exclude("item_id").fill_null(""))
    text = pl.concat_str([pl.col(c) for c in schema.TEXT_COLUMNS], separator=" ").str.strip_chars()
    frame = frame.with_columns(text.alias("text"), mojibake(frame, schema.TEXT_COLUMNS))
    title = pl.col("title")
    return frame.with_columns(pl.when(title.str.strip_chars() != "").then(title)), found


def examples(
    frame: pl.DataFrame, mask: pl.Expr, n: int, together: str | None = None
) -> tuple[int, list[dict[str, Any]]]:
    """How many rows fit, and the first `n` of them with their row numbers (from 1); those with the
    same value in the column `together` side by side."""
    found = frame.with_row_index("row", offset=1).filter(mask)
    if together:
        found = found.sort(pl.col("row").min().over(together), "row")
    hidden = [c for c in ("duplicate", "mojibake", "text", "raw_timestamp") if c in found.columns]
    return found.height, found.head(n).drop(hidden).to_dicts()
