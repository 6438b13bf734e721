"""Rows are added in the table's own format, and read back as what they are."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bridgerec.config import Domain, Workspace
from bridgerec.data.readers import TableProblem, collect, read_interactions, read_items
from bridgerec.data.writers import Addition, write_with

NEW = pl.DataFrame(
    {
        "user_id": ["u9", 'a "quoted", one\n', "00123"],
        "item_id": ["i1", "书:1", "i3"],
        "timestamp": [1_700_000_000, 1_700_000_061, 1_700_000_122],
        "kind": ["view", "purchase", "view"],
        "value": [None, 2.5, 4.0],
    }
)
OLD = pl.DataFrame(
    {
        "who": ["u1", "u2"],
        "item_id": ["i1", "i2"],
        "timestamp": [1_600_000_000, 1_600_000_060],
        "kind": ["view", "like"],
        "value": [1.0, None],
        "session": ["s1", "s2"],
    }
)
COLUMNS = {"user_id": "who"}


def iso(form: str) -> pl.Expr:
    return pl.from_epoch("timestamp", "s").dt.strftime(form).alias("timestamp")


def jsonl(frame: pl.DataFrame, path: Path) -> None:
    path.write_text("\n".join(json.dumps(row) for row in frame.to_dicts()))  # no last line end


WRITERS: dict[str, Any] = {
    "csv": lambda f, p: f.write_csv(p),
    "jsonl": jsonl,
    "ndjson": jsonl,
    "parquet": lambda f, p: f.write_parquet(p),
    "csv.gz": lambda f, p: p.write_bytes(gzip.compress(f.write_csv().encode())),
    "jsonl.gz": lambda f, p: p.write_bytes(gzip.compress(f.write_ndjson().encode())),
}


def read_back(path: Path, **domain: Any) -> pl.DataFrame:
    told = Domain(interactions=path.name, items="", interaction_columns=COLUMNS, **domain)
    return collect(read_interactions(Workspace(path.parent), "films", told), path)


@pytest.mark.parametrize("ending", list(WRITERS))
@pytest.mark.parametrize("time", ["s", "ms", "text", "text_z"])
def test_every_format_and_way_of_times(tmp_path: Path, ending: str, time: str) -> None:
    source, target = tmp_path / f"old.{ending}", tmp_path / f"new.{ending}"
    unit, old = "s", OLD
    if time == "ms":
        unit, old = "ms", OLD.with_columns(pl.col("timestamp") * 1000)
    elif time.startswith("text"):
        old = OLD.with_columns(iso("%Y-%m-%d %H:%M:%S" if time == "text" else "%FT%TZ"))
    WRITERS[ending](old, source)
    before = source.read_bytes()
    write_with(source, target, Addition(NEW, columns=COLUMNS, unit=unit))
    assert source.read_bytes() == before
    found = read_back(target, timestamp_unit=unit)
    first = OLD.rename({"who": "user_id"}).drop("session")
    assert found.rows() == pl.concat([first, NEW]).rows()
    if ending == "csv" and time == "text":
        assert "\nu9,i1,2023-11-14 22:13:20,view,,\n" in target.read_text()
    again = tmp_path / f"again.{ending}"
    write_with(source, again, Addition(NEW, columns=COLUMNS, unit=unit))
    assert again.read_bytes() == target.read_bytes()


@pytest.mark.parametrize("kind", [pl.Datetime("ms", "UTC"), pl.Datetime("us"), pl.Float64])
def test_parquet_keeps_its_types(tmp_path: Path, kind: Any) -> None:
    moments = [datetime.fromtimestamp(t, UTC) for t in OLD["timestamp"]]
    naive = [m.replace(tzinfo=None) for m in moments]
    values = OLD["timestamp"] if kind == pl.Float64 else moments if kind.time_zone else naive
    old = OLD.with_columns(pl.Series("timestamp", values, dtype=kind))
    old.write_parquet(tmp_path / "old.parquet", compression="zstd")
    write_with(tmp_path / "old.parquet", tmp_path / "new.parquet", Addition(NEW, columns=COLUMNS))
    assert pl.read_parquet_schema(tmp_path / "new.parquet") == old.schema
    assert (
        read_back(tmp_path / "new.parquet")["timestamp"].to_list()[2:] == NEW["timestamp"].to_list()
    )


def test_numbers_stay_numbers_until_an_id_is_none(tmp_path: Path) -> None:
    old = OLD.with_columns(pl.Series("who", [7, 8]), pl.Series("item_id", [1, 2]))
    rows = NEW.with_columns(pl.Series("item_id", ["3", "4", "5"]))
    for ending in ("parquet", "jsonl"):
        WRITERS[ending](old, tmp_path / f"old.{ending}")
        target = tmp_path / f"new.{ending}"
        write_with(tmp_path / f"old.{ending}", target, Addition(rows, columns=COLUMNS))
        found = read_back(target)
        assert found["user_id"].to_list() == ["7", "8", *NEW["user_id"]]
        assert found["item_id"].to_list() == ["1", "2", "3", "4", "5"]
    assert pl.read_parquet_schema(tmp_path / "new.parquet")["item_id"] == pl.Int64
    last = json.loads(target.read_text().splitlines()[-1])
    assert (last["who"], last["item_id"]) == ("00123", 5)


@pytest.mark.parametrize("ending", list(WRITERS))
def test_items_are_appended_or_replaced_in_a_shared_table(tmp_path: Path, ending: str) -> None:
    source, target = tmp_path / f"old.{ending}", tmp_path / f"new.{ending}"
    old = pl.DataFrame(
        {
            "domain": ["films", "books", "films"],
            "item_id": ["i1", "i1", "i2"],
            "name": ["One", "Book, one\nand only", "Two"],
            "description": ["d1", "b1", "d2"],
            "price": [1.5, 2.0, None],
            "shelf": ["a", "b", "c"],
        }
    )
    WRITERS[ending](old, source)
    item = {"item_id": "i3", "title": 'Three "3"', "description": "", "price": 3.0, "image": None}
    kinds = {"price": pl.Float64, "image": pl.String}
    rows = pl.DataFrame([item], schema_overrides=kinds)
    changed = {**item, "item_id": "i1", "title": "Uno", "price": None}
    replaced = pl.DataFrame([changed], schema_overrides=kinds).drop("image")
    write_with(source, target, Addition(rows, replaced, {"title": "name"}, "films"))
    told = Domain(interactions="", items=target.name, item_columns={"title": "name"})
    films = read_items(Workspace(tmp_path), "films", told).sort("item_id")
    assert films["title"].to_list() == ["Uno", "Two", 'Three "3"']
    assert films["description"].to_list() == ["", "d2", ""]
    assert films["price"].to_list() == [None, None, 3.0]
    books = read_items(Workspace(tmp_path), "books", told)
    assert books["title"].to_list() == ["Book, one\nand only"]
    assert {"a", "b", "c"} <= set(pl.Series(_shelves(target)).to_list())


def _shelves(path: Path) -> list[str]:
    from bridgerec.data.readers import scan_table

    return collect(scan_table(path), path)["shelf"].to_list()


def test_a_column_that_cannot_hold_the_new_values_is_named(tmp_path: Path) -> None:
    OLD.with_columns(pl.Series("kind", [1, 2])).write_parquet(tmp_path / "old.parquet")
    with pytest.raises(TableProblem, match=r"old\.parquet cannot hold"):
        write_with(tmp_path / "old.parquet", tmp_path / "new.parquet", Addition(NEW))
