"""From whatever a table holds to standard types; what cannot be converted becomes null."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from bridgerec.data.readers.scan import TableProblem

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
# no text fits two of them; the first covers everything with an offset or a Z
_TIME_FORMATS = (
    "%+",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
)


def interaction_types(schema: pl.Schema, unit: str, path: Path) -> dict[str, pl.Expr]:
    """For every standard column of `schema`, what gives it its standard type.

    Raises:
        TableProblem: the timestamps have a type that cannot mean a time.
    """
    types: dict[str, Callable[[pl.DataType], pl.Expr]] = {
        "user_id": lambda _: text_id("user_id"),
        "item_id": lambda _: text_id("item_id"),
        "timestamp": partial(_seconds, unit=unit, path=path),
        "kind": lambda _: pl.col("kind").cast(pl.String),
        "value": lambda kind: _finite(number("value", kind)),
        "position": _position,
    }
    return {name: types[name](kind).alias(name) for name, kind in schema.items()}


def text_id(name: str) -> pl.Expr:
    """An id as text; an empty or blank one is none."""
    text = pl.col(name).cast(pl.String)
    return text.map_batches(_without_blanks, return_dtype=pl.String, is_elementwise=True)


def _without_blanks(texts: pl.Series) -> pl.Series:
    # what begins with a visible ASCII sign is not blank: a tenth of the work of stripping
    if ((texts >= "!") & (texts < "\x7f")).all():
        return texts
    return texts.set(texts.str.strip_chars() == "", None)


def number(name: str, kind: pl.DataType) -> pl.Expr:
    """A column of type `kind` as float."""
    column = pl.col(name).str.strip_chars() if kind == pl.String else pl.col(name)
    return column.cast(pl.Float64, strict=False)


def amount(name: str, kind: pl.DataType) -> pl.Expr:
    """A column of type `kind` as finite floats from 0; null where it holds anything else."""
    numbers = _finite(number(name, kind))
    return pl.when(numbers >= 0).then(numbers)


def _finite(numbers: pl.Expr) -> pl.Expr:
    return pl.when(numbers.is_finite()).then(numbers)


def _position(kind: pl.DataType) -> pl.Expr:
    whole = pl.col("position").str.strip_chars() if kind == pl.String else pl.col("position")
    if kind.is_integer():
        return whole.cast(pl.Int64, strict=False)
    rounded = number("position", kind).cast(pl.Int64, strict=False)  # "3.0", as pandas writes it
    return pl.coalesce(whole.cast(pl.Int64, strict=False), rounded)


def _seconds(kind: pl.DataType, unit: str, path: Path) -> pl.Expr:
    column = pl.col("timestamp")
    if kind == pl.String:
        return column.map_batches(
            partial(_text_seconds, unit=unit), return_dtype=pl.Int64, is_elementwise=True
        )
    if isinstance(kind, pl.Datetime) or kind == pl.Date:
        return column.dt.epoch("s").cast(pl.Int64)
    if kind.is_integer() or kind == pl.Null:
        return column.cast(pl.Int64, strict=False) // PER_SECOND[unit]
    if kind.is_numeric():
        return _whole_seconds(column.cast(pl.Float64), unit)
    raise TableProblem(
        path, "mistyped_timestamp", f"has a timestamp of type {kind}",
        "Write times as numbers, dates or ISO 8601 texts",
    )  # fmt: skip


def _whole_seconds(numbers: pl.Expr, unit: str) -> pl.Expr:
    return (numbers / PER_SECOND[unit]).floor().cast(pl.Int64, strict=False)  # NaN: null


def _text_seconds(texts: pl.Series, unit: str) -> pl.Series:
    """Numbers in `unit`, else ISO 8601 (UTC where no offset is given), else null."""
    texts = texts.str.strip_chars()
    numbers = texts.cast(pl.Float64, strict=False)
    found = pl.select(_whole_seconds(pl.lit(numbers), unit)).to_series()
    missing, sample = texts.null_count(), texts.drop_nulls().head(20)
    likely = sorted(_TIME_FORMATS, key=lambda form: _parse(sample, form).null_count())
    for form in (*likely, None):  # None: polars guesses
        if found.null_count() <= missing:
            break
        found = pl.select(pl.coalesce(found, _parse(texts, form))).to_series()
    return found.alias("timestamp")


def _parse(texts: pl.Series, form: str | None) -> pl.Series:
    return texts.str.to_datetime(form, time_zone="UTC", strict=False).dt.epoch("s")
