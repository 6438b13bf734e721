"""CSV, JSONL and Parquet tables, renamed to the standard columns and given standard types."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from bridgerec.config import Domain, Workspace
from bridgerec.data import schema
from bridgerec.errors import DataError

FORMATS = (".csv", ".jsonl", ".ndjson", ".parquet")
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


def scan_table(path: Path) -> pl.LazyFrame:
    """Open a table lazily; the format follows the file's ending (`.gz` is allowed for text).

    Raises:
        DataError: the file is missing, empty, unreadable, or of an unknown format.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist. Correct its path in params.yaml (data.domains).")
    suffix = next((s for s in reversed(path.suffixes) if s != ".gz"), "")
    try:
        if suffix == ".parquet":
            frame = pl.scan_parquet(path)
        elif suffix == ".csv":
            frame = pl.scan_csv(path, infer_schema_length=10_000)
        elif suffix in (".jsonl", ".ndjson"):
            frame = pl.scan_ndjson(path, infer_schema_length=10_000)
        else:
            raise DataError(
                f"{path}: the format {suffix!r} is unknown; use one of {', '.join(FORMATS)}."
            )
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read as {suffix[1:]}: {error}") from error
    return frame


def standard_columns(
    path: Path, mapping: dict[str, str], known: Iterable[str], domain: str
) -> pl.LazyFrame:
    """Select and rename the columns of a table.

    When the table has a column `domain`, only the rows of `domain` are kept, so that several
    domains may share one file.

    Raises:
        DataError: the mapping names an unknown standard column or one the table lacks.
    """
    frame = scan_table(path)
    present = frame.collect_schema().names()
    wrong = sorted(set(mapping) - set(known))
    if wrong:
        raise DataError(
            f"{path}: the column mapping names {wrong}; the standard columns are {list(known)}."
        )
    absent = sorted(column for column in mapping.values() if column not in present)
    if absent:
        raise DataError(f"{path} has no column {absent}, which params.yaml maps. It has {present}.")
    if "domain" in present:
        frame = frame.filter(pl.col("domain") == domain)
    own = {name: mapping.get(name, name) for name in known}
    return frame.select(pl.col(own[n]).alias(n) for n in own if own[n] in present)


def _require(frame: pl.LazyFrame, names: Iterable[str], path: Path, keys: str) -> None:
    present = frame.collect_schema().names()
    absent = [name for name in names if name not in present]
    if absent:
        raise DataError(
            f"{path} lacks the column(s) {absent}. Rename them, or map them in params.yaml "
            f"under {keys}. Found: {present}."
        )


def _seconds(frame: pl.LazyFrame, unit: str, path: Path) -> pl.Expr:
    kind = frame.collect_schema()["timestamp"]
    column = pl.col("timestamp")
    if kind == pl.String:
        column = column.str.to_datetime(time_zone="UTC", strict=False).dt.epoch("s")
    elif isinstance(kind, pl.Datetime) or kind == pl.Date:
        column = column.dt.epoch("s")
    elif kind.is_integer():
        column = column // _PER_SECOND[unit]
    elif kind.is_float():
        column = (column / _PER_SECOND[unit]).floor()
    else:
        raise DataError(f"{path}: timestamp has type {kind}; numbers, dates or ISO texts can be.")
    return column.cast(pl.Int64)


def read_interactions(
    workspace: Workspace, name: str, domain: Domain, columns: Iterable[str] | None = None
) -> pl.LazyFrame:
    """Interactions of one domain: `user_id, item_id` as text, `timestamp` in whole seconds
    (UTC), `kind` as text, `value` as float, `position` as integer; absent ones stay absent.

    Raises:
        DataError: a required column is missing, or there is neither timestamp nor position.
    """
    path = workspace.table(domain.interactions)
    keys = f"data.domains.{name}.interaction_columns"
    wanted = columns or schema.INTERACTION_COLUMNS
    frame = standard_columns(path, domain.interaction_columns, schema.INTERACTION_COLUMNS, name)
    _require(frame, schema.INTERACTION_REQUIRED, path, keys)
    present = frame.collect_schema().names()
    if not set(schema.INTERACTION_ORDER) & set(present):
        _require(frame, ["timestamp"], path, keys)
    casts = {"user_id": pl.String, "item_id": pl.String, "kind": pl.String, "value": pl.Float64}
    selected = [
        _seconds(frame, domain.timestamp_unit, path).alias("timestamp")
        if c == "timestamp"
        else pl.col(c).cast(casts.get(c, pl.Int64))
        for c in wanted
        if c in present
    ]
    return frame.select(selected)


def read_items(workspace: Workspace, name: str, domain: Domain) -> pl.DataFrame:
    """The catalogue of one domain with all standard columns as text ("" where absent)."""
    path = workspace.table(domain.items)
    frame = standard_columns(path, domain.item_columns, schema.ITEM_COLUMNS, name)
    _require(frame, schema.ITEM_REQUIRED, path, f"data.domains.{name}.item_columns")
    present = frame.collect_schema().names()
    return frame.select(
        (pl.col(c).cast(pl.String).fill_null("") if c in present else pl.lit("")).alias(c)
        for c in schema.ITEM_COLUMNS
    ).collect()


def read_identities(workspace: Workspace, path: str) -> pl.DataFrame:
    """The optional mapping of accounts to people: `domain, user_id, person_id` as text."""
    frame = scan_table(workspace.table(path))
    _require(frame, ("domain", "user_id", "person_id"), workspace.table(path), "data.identities")
    return frame.select(
        pl.col(c).cast(pl.String) for c in ("domain", "user_id", "person_id")
    ).collect()
