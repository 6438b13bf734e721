"""Parquet: the old row groups, with their types, and one more."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from bridgerec.data.readers.convert import PER_SECOND
from bridgerec.data.writers.addition import Addition
from bridgerec.data.writers.text import time_text

IDS = ("user_id", "item_id")


def write_parquet(source: Path, target: Path, addition: Addition) -> None:
    """One row group is in memory at a time.  A column of numbers becomes one of texts when an id
    is added that is no number; readers take ids as texts anyway."""
    with pq.ParquetFile(source) as table:
        schema = _widened(table.schema_arrow, addition)
        own = addition.own(schema.names)
        replaced = addition.tables[1]
        packing = "snappy"
        if table.num_row_groups and table.metadata.num_columns:
            packing = table.metadata.row_group(0).column(0).compression.lower()
            packing = "none" if packing == "uncompressed" else packing
        made: list[dict[str, Any]] = []
        with pq.ParquetWriter(target, schema, compression=packing) as out:
            for number in range(table.num_row_groups):
                group = _as(table.read_row_group(number), schema)
                if replaced.height:
                    group, old = _without(group, addition, schema)
                    made += [_overlaid(row, own, addition) for row in old]
                out.write_table(group)
            sample = _first_time(table, addition)
            new = _table(addition.tables[0], own, schema, addition.unit, sample)
            if made:
                out.write_table(pa.Table.from_pylist(made, schema))
            out.write_table(new)


def _widened(schema: pa.Schema, addition: Addition) -> pa.Schema:
    """The schema, with text in place of numbers for ids that are no such numbers."""
    for name in IDS:
        column = addition.columns.get(name, name)
        if name not in addition.rows.columns or column not in schema.names:
            continue
        kind = schema.field(column).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            continue
        ids = addition.rows[name]
        again = ids.cast(pl.Int64, strict=False).cast(pl.String)
        if pa.types.is_floating(kind) or not (again.eq_missing(ids)).all():
            place = schema.get_field_index(column)
            schema = schema.set(place, schema.field(column).with_type(pa.large_string()))
    return schema


def _as(group: pa.Table, schema: pa.Schema) -> pa.Table:
    """The group with the types of `schema`; numbers become texts as readers see them."""
    for place, wanted in enumerate(schema):
        if group.schema.field(place).type != wanted.type:
            texts = pl.from_arrow(group.column(place))
            assert isinstance(texts, pl.Series)
            group = group.set_column(place, wanted, texts.cast(pl.String).to_arrow())
    return group.cast(schema)


def _without(
    group: pa.Table, addition: Addition, schema: pa.Schema
) -> tuple[pa.Table, list[dict[str, Any]]]:
    """The group without rows that are replaced, and these rows."""
    key = addition.columns.get("item_id", "item_id")
    ids = [str(item) for item in group.column(key).to_pylist()]
    places, domains = addition.places, [addition.domain] * len(ids)
    if "domain" in schema.names:
        domains = group.column("domain").to_pylist()
    gone = [i in places and d == addition.domain for i, d in zip(ids, domains, strict=True)]
    kept = pa.array([not out for out in gone])
    return group.filter(kept), group.filter(pa.array(gone)).to_pylist()


def _overlaid(old: dict[str, Any], own: dict[str, str], addition: Addition) -> dict[str, Any]:
    replaced = addition.tables[1]
    item = str(old[addition.columns.get("item_id", "item_id")])
    new = replaced.row(addition.places[item], named=True)
    kept = ("item_id", "domain")  # the row was found by them
    return {**old, **{c: new[n] for c, n in own.items() if n in new and n not in kept}}


def _first_time(table: pq.ParquetFile, addition: Addition) -> str | None:
    """A time of the table, where times are texts."""
    column = addition.columns.get("timestamp", "timestamp")
    if column not in table.schema_arrow.names:
        return None
    if not _is_text(table.schema_arrow.field(column).type):
        return None
    for number in range(table.num_row_groups):
        texts = table.read_row_group(number, [column]).column(0).drop_null()
        if len(texts):
            return str(texts[0].as_py())
    return None


def _table(
    rows: pl.DataFrame, own: dict[str, str], schema: pa.Schema, unit: str, sample: str | None
) -> pa.Table:
    columns = []
    for wanted in schema:
        name = own.get(wanted.name)
        if name is None or name not in rows.columns:
            columns.append(pa.nulls(rows.height, wanted.type))
        elif name == "timestamp":
            columns.append(_times(rows[name], wanted.type, unit, sample))
        else:
            values = rows[name].to_list()
            if pa.types.is_integer(wanted.type) and name in IDS:
                values = [None if v is None else int(v) for v in values]
            columns.append(_array(values, wanted.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _is_text(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if _is_text(kind):
        values = [None if v is None else str(v) for v in values]
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return pa.array(values).cast(kind) if values else pa.array([], kind)
    return pa.array(values, kind)


def _times(seconds: pl.Series, kind: pa.DataType, unit: str, sample: str | None) -> pa.Array:
    if pa.types.is_timestamp(kind):
        return pa.array(seconds.to_list(), pa.timestamp("s", tz=kind.tz)).cast(kind)
    if pa.types.is_date(kind):
        return pa.array(seconds.to_list(), pa.timestamp("s")).cast(kind, safe=False)
    if _is_text(kind):
        return pa.array([time_text(s, sample, unit) for s in seconds.to_list()], kind)
    return pa.array((seconds * PER_SECOND[unit]).to_list(), kind)
