"""Ids stay texts, times come in any form, and what cannot be read is said plainly."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from bridgerec.config import Domain, Workspace
from bridgerec.data.encode import encode_catalogue
from bridgerec.data.prepare import prepare
from bridgerec.data.readers import (
    TableProblem,
    collect,
    read_identities,
    read_interactions,
    read_items,
    scan_table,
)
from bridgerec.validation import derive


def read(folder: Path, text: str, name: str = "x.csv", **domain: object) -> pl.DataFrame:
    (folder / name).write_text(text, encoding="utf-8")
    found = Domain.model_validate({"interactions": name, "items": "items.csv", **domain})
    return read_interactions(Workspace(folder), "left", found).collect()


def test_ids_keep_their_zeros_and_may_stop_being_numbers(tmp_path: Path) -> None:
    rows = "".join(f"{n:08d},0001714538,5\n" for n in range(10_500))
    frame = read(tmp_path, f"user_id,item_id,timestamp\n{rows}u1,B00A,5\n")
    assert frame["item_id"].unique().sort().to_list() == ["0001714538", "B00A"]
    assert frame["user_id"][:2].to_list() == ["00000000", "00000001"]
    (tmp_path / "items.csv").write_text("item_id,title\n0001714538,1984\n007,0042\n")
    items = read_items(Workspace(tmp_path), "left", Domain(interactions="", items="items.csv"))
    assert items["item_id"].to_list() == ["0001714538", "007"]
    assert items["title"].to_list() == ["1984", "0042"]
    (tmp_path / "who.csv").write_text("domain,user_id,person_id\nleft,007,01\nleft,8, \n")
    assert read_identities(Workspace(tmp_path), "who.csv").rows() == [("left", "007", "01")]


def test_ids_of_mapped_columns_and_of_domains_named_by_numbers(tmp_path: Path) -> None:
    frame = read(
        tmp_path,
        "who,what,timestamp,domain\n01,02,1,left\n03,04,1,7\n",
        interaction_columns={"user_id": "who", "item_id": "what"},
    )
    assert frame.rows() == [("01", "02", 1)]


def test_numbers_as_ids_in_jsonl_and_parquet(tmp_path: Path) -> None:
    lines = '{"user_id": 12, "item_id": "a", "timestamp": 7.9}\n' * 10_500
    late = '{"user_id": "u", "item_id": 5, "timestamp": "1970-01-01T00:01:00Z"}\n'
    frame = read(tmp_path, lines + late, "x.jsonl")
    assert frame[0].rows() == [("12", "a", 7)]
    assert frame[-1].rows() == [("u", "5", 60)]
    pl.DataFrame({"user_id": [1], "item_id": [2], "timestamp": [float("nan")]}).write_parquet(
        tmp_path / "x.parquet"
    )
    domain = Domain(interactions="x.parquet", items="")
    assert read_interactions(Workspace(tmp_path), "left", domain).collect().rows() == [
        ("1", "2", None)
    ]


def test_a_column_that_only_the_last_line_has_is_read(tmp_path: Path) -> None:
    lines = '{"user_id": "u", "item_id": "a", "timestamp": 7}\n' * 10_001
    late = '{"user_id": "u", "item_id": "a", "timestamp": 8, "kind": "like"}\n'
    frame = read(tmp_path, lines + late, "x.jsonl")
    assert frame["kind"][-2:].to_list() == [None, "like"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(["tea", "gifts"], r"List\(String\)"), ({"a": 1}, "Struct"), (b"a", "Binary")],
)
def test_a_column_without_single_values_is_named(tmp_path: Path, value: object, kind: str) -> None:
    items = pl.DataFrame({"item_id": ["a"], "title": ["b"], "kinds": [value]})
    items.write_parquet(tmp_path / "items.parquet")
    domain = Domain(interactions="", items="items.parquet", item_columns={"category": "kinds"})
    with pytest.raises(TableProblem, match=rf"type {kind}.* in the column 'kinds'\. Write one"):
        read_items(Workspace(tmp_path), "left", domain)
    other = domain.model_copy(update={"item_columns": {}})  # columns nobody reads may hold anything
    assert read_items(Workspace(tmp_path), "left", other)["category"].to_list() == [""]


def test_blank_ids_are_none(tmp_path: Path) -> None:
    frame = read(tmp_path, 'user_id,item_id,timestamp\n"", a,1\n u,"  ",1\n,b,1\n')
    assert frame["user_id"].to_list() == [None, " u", None]
    assert frame["item_id"].to_list() == [" a", None, "b"]
    (tmp_path / "items.csv").write_text('item_id,title\n,one\n" ",two\n"",three\nd,\n')
    items = read_items(Workspace(tmp_path), "left", Domain(interactions="", items="items.csv"))
    assert items["item_id"].to_list() == [None, None, None, "d"]
    assert items["title"][3] == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60", 60),
        (" 60.9 ", 60),
        ("6e1", 60),
        ("1970-01-01T00:01:00Z", 60),
        ("1970-01-01 00:01:00+00:00", 60),
        ("1970-01-01T02:01:00.250+0200", 60),
        ("1970-01-01T00:01:00", 60),
        ("1970-01-01 00:01", 60),
        ("1970-01-02", 86_400),
        ("NaN", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times_of_any_form_in_one_column(tmp_path: Path, text: str, seconds: int | None) -> None:
    head = "user_id,item_id,timestamp\nu,i,1970-01-03\nu,i,77\n"
    frame = read(tmp_path, f"{head}u,i,{text}\n")
    assert frame["timestamp"].to_list() == [172_800, 77, seconds]


def test_a_unit_applies_to_numbers_in_any_type(tmp_path: Path) -> None:
    text = "user_id,item_id,timestamp\nu,i,1600000000999\n"
    assert read(tmp_path, text, timestamp_unit="ms")["timestamp"].to_list() == [1_600_000_000]


def test_bad_optional_values_are_missing(tmp_path: Path) -> None:
    frame = read(
        tmp_path,
        "user_id,item_id,position,value\nu,i,2,3.5\nu,i,3.0,good\nu,i,soon,1e3\nu,i,4,NaN\n",
    )
    assert frame["position"].to_list() == [2, 3, None, 4]
    assert frame["value"].to_list() == [3.5, None, 1000.0, None]


def test_prepare_leaves_rows_without_a_time_out(small_workspace: Workspace) -> None:
    path = small_workspace.root / "data" / "left" / "interactions.csv"
    frame = pl.read_csv(path, infer_schema=False)
    row = pl.int_range(pl.len())
    frame.with_columns(
        pl.when(row == 290).then(pl.lit("soon")).otherwise("timestamp").alias("timestamp"),
        pl.when(row == 5).then(pl.lit(" ")).otherwise("user_id").alias("user_id"),
    ).write_csv(path)
    summary = prepare(small_workspace)
    assert summary["domains"]["left"]["rows"] == 300
    assert summary["domains"]["left"]["left_out"] == 2


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.jsonl"])
def test_a_file_that_is_not_utf8_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    text = '{"user_id": "é", "item_id": "a"}\n' if "json" in name else "user_id,item_id\né,a\n"
    raw = text.encode("latin-1")
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    with pytest.raises(TableProblem, match=r"not UTF-8 text\. Save it as UTF-8") as error:
        collect(scan_table(tmp_path / name), tmp_path / name)
    assert "\n" not in str(error.value)
    assert error.value.check == "undecodable"


def test_utf16_and_broken_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", encoding="utf-16")
    with pytest.raises(TableProblem, match="not UTF-8"):
        scan_table(tmp_path / "x.csv")
    (tmp_path / "y.csv").write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(TableProblem, match=r"y\.csv cannot be read \(found more fields") as error:
        collect(scan_table(tmp_path / "y.csv"), tmp_path / "y.csv")
    assert "\n" not in str(error.value)


def test_missing_columns_list_what_is_there_and_how_to_map(tmp_path: Path) -> None:
    with pytest.raises(TableProblem, match="lacks the column") as error:
        read(tmp_path, "who,item_id,timestamp\nu,i,1\n")
    assert error.value.check == "missing_columns"
    assert "Found: ['who', 'item_id', 'timestamp']" in str(error.value)
    assert "data.domains.left.interaction_columns: {user_id: THE_COLUMN}" in str(error.value)


def test_prices_are_numbers_from_0_or_missing(tmp_path: Path) -> None:
    domain = Domain(interactions="", items="items.csv")
    given = ["12.5", "0", "", "-1", "$3", "nan", "inf", " 7 "]
    rows = "".join(f"i{n},title {n},{price}\n" for n, price in enumerate(given))
    (tmp_path / "items.csv").write_text(f"item_id,title,price\n{rows}")
    found = read_items(Workspace(tmp_path), "left", domain)
    assert found["price"].to_list() == [12.5, 0, None, None, None, None, None, 7]
    checked, findings = derive.items(Workspace(tmp_path), "left", domain, 5)
    assert checked["price"].to_list() == found["price"].to_list()
    assert [(f.check, f.severity, f.count) for f in findings] == [("mistyped_price", "warning", 3)]
    assert [row["price"] for row in findings[0].examples] == ["-1", "$3", "inf"]
    (tmp_path / "items.csv").write_text("item_id,title\na,b\n")
    assert read_items(Workspace(tmp_path), "left", domain)["price"].to_list() == [None]


def test_a_language_is_there_where_a_table_tells_it(small_workspace: Workspace) -> None:
    params = small_workspace.params
    without = encode_catalogue(small_workspace, params).items
    assert without.columns == [
        *("domain", "item_id", "title", "description", "category", "brand", "image", "price"),
    ]
    table = small_workspace.root / "data" / "right" / "items.csv"
    items = pl.read_csv(table)
    said = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("en"))
    items.with_columns(tongue=said).write_csv(table)
    right = params.data.domains["right"].model_copy(update={"item_columns": {"language": "tongue"}})
    domains = {**params.data.domains, "right": right}
    data = params.data.model_copy(update={"domains": domains})
    found = encode_catalogue(small_workspace, params.model_copy(update={"data": data})).items
    assert found.drop("language").equals(without)
    assert found["language"].to_list() == [None] * 30 + ["en", ""] * 15
