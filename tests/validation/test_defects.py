"""Every defect that the validate stage must catch: severity, count, examples, remedy."""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.errors import ConfigError, ValidationFailed
from bridgerec.runtime import file_hash, read_json
from bridgerec.validation.run import validate
from helpers import small_params

REPOSITORY = Path(__file__).parents[2]
Edit = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture
def place(small_workspace: Workspace) -> Workspace:
    shutil.copytree(REPOSITORY / "expectations", small_workspace.expectations)
    # the small world has few people and no descriptions
    params = small_params(validation={"min_overlapping_users": 5})
    (small_workspace.root / "params.yaml").write_text(yaml.safe_dump(params))
    return small_workspace


def edit(place: Workspace, table: str, change: Edit) -> None:
    path = place.root / "data" / "left" / f"{table}.csv"
    change(pl.read_csv(path)).write_csv(path)


def verdict_of(place: Workspace) -> dict[str, dict[str, object]]:
    """The findings by their check, whether or not they stop the run."""
    with suppress(ValidationFailed):
        validate(place)
    verdict = read_json(place.reports / "validation" / "verdict.json")
    assert len({f["check"] for f in verdict["findings"]}) == len(verdict["findings"])
    return {f["check"]: f for f in verdict["findings"]}


def set_params(place: Workspace, **changes: object) -> None:
    changes.setdefault("validation", {"min_overlapping_users": 5})
    (place.root / "params.yaml").write_text(yaml.safe_dump(small_params(**changes)))


def text(column: str, value: str, rows: int) -> Edit:
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) < rows)
        .then(pl.lit(value))
        .otherwise(pl.col(column).cast(pl.String))
        .alias(column)
    )


def number(column: str, value: int, rows: int) -> Edit:
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) < rows).then(value).otherwise(column).alias(column)
    )


def swapped(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.rename({"user_id": "item_id", "item_id": "user_id"})


DEFECTS: dict[str, tuple[str, Edit, str, int]] = {
    "swapped_columns": ("interactions", swapped, "critical", 300),
    "unknown_items": ("interactions", text("item_id", "nowhere", 3), "warning", 3),
    "duplicates": ("interactions", lambda f: pl.concat([f, f.head(7)]), "warning", 7),
    "timestamp_unit": (
        "interactions",
        lambda f: f.with_columns(pl.col("timestamp") * 1000),
        "critical",
        300,
    ),
    "impossible_times": ("interactions", number("timestamp", 5, 2), "critical", 2),
    "future_times": ("interactions", number("timestamp", 1_900_000_000, 2), "warning", 2),
    "no_overlap": (
        "interactions",
        lambda f: f.with_columns(("other-" + pl.col("user_id")).alias("user_id")),
        "critical",
        0,
    ),
    "tiny_overlap": (
        "interactions",
        lambda f: f.with_columns(
            pl.when(pl.col("user_id").is_in(["u10", "u11", "u12"]))
            .then("user_id")
            .otherwise("other-" + pl.col("user_id"))
            .alias("user_id")
        ),
        "warning",
        3,
    ),
    "missing_user": ("interactions", text("user_id", "", 4), "critical", 4),
    "missing_item": ("interactions", text("item_id", " ", 2), "warning", 2),
    "missing_time": ("interactions", text("timestamp", "", 1), "warning", 1),
    "mistyped_timestamp": ("interactions", text("timestamp", "soon", 4), "critical", 4),
    "mistyped_value": (
        "interactions",
        lambda f: text("value", "good", 2)(f.with_columns(pl.lit("1.5").alias("value"))),
        "warning",
        2,
    ),
    "missing_columns": ("interactions", lambda f: f.rename({"item_id": "what"}), "critical", 300),
    "constant_times": ("interactions", number("timestamp", 1_600_000_000, 300), "critical", 300),
    "empty_titles": ("items", text("title", "", 2), "warning", 2),
    "constant_text": ("items", text("title", "same", 30), "critical", 30),
    "empty_text": (
        "items",
        lambda f: f.with_columns(pl.lit(" ").alias("description"), pl.lit(None).alias("brand")),
        "warning",
        30,
    ),
    "constant_columns": (
        "items",
        lambda f: f.with_columns(pl.lit("N/A").alias("category")),
        "warning",
        30,
    ),
    "mojibake": ("items", text("title", "CafÃ© crÃ¨me", 2), "warning", 2),
    "catalogue_duplicates": ("items", lambda f: pl.concat([f, f.head(3)]), "critical", 6),
}


def test_sound_data_pass_and_a_repeat_gives_the_same_bytes(place: Workspace) -> None:
    verdict = validate(place)
    assert verdict["passed"]
    assert verdict["findings"] == []
    out = place.reports / "validation"
    assert "left" in (out / "summary.md").read_text()
    assert list((out / "data_docs").rglob("*.html"))
    first = file_hash(out)
    validate(place)
    assert file_hash(out) == first


@pytest.mark.parametrize("check", DEFECTS)
def test_a_defect_is_named_counted_shown_and_given_a_remedy(place: Workspace, check: str) -> None:
    table, change, severity, count = DEFECTS[check]
    edit(place, table, change)
    if severity == "critical":
        with pytest.raises(ValidationFailed, match="critical problem") as error:
            validate(place)
        assert "Traceback" not in str(error.value)
    else:
        validate(place)
    verdict = read_json(place.reports / "validation" / "verdict.json")
    assert verdict["passed"] == (severity == "warning")
    found = {f["check"]: f for f in verdict["findings"]}
    assert check in found, list(found)
    finding = found[check]
    assert finding["severity"] == severity
    assert finding["remedy"]
    assert finding["count"] == count
    assert finding["examples"]
    summary = (place.reports / "validation" / "summary.md").read_text()
    assert finding["message"] in summary


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("item_id"), "item_id"),
        (lambda f: f.with_columns(pl.lit("yesterday").alias("timestamp")), "timestamp"),
    ],
)
def test_missing_and_mistyped_columns_are_critical(
    place: Workspace, change: Edit, message: str
) -> None:
    edit(place, "interactions", change)
    with pytest.raises(ValidationFailed, match=message):
        validate(place)
    verdict = read_json(place.reports / "validation" / "verdict.json")
    assert not verdict["passed"]


def test_copies_are_shown_side_by_side(place: Workspace) -> None:
    edit(place, *DEFECTS["catalogue_duplicates"][:2])
    shown: Any = verdict_of(place)["catalogue_duplicates"]["examples"]
    found = [(row["row"], row["item_id"]) for row in shown]
    assert found[:4] == [(1, "l00"), (31, "l00"), (2, "l01"), (32, "l01")]


def test_few_shared_people_are_shown_with_those_of_each_side(place: Workspace) -> None:
    edit(place, *DEFECTS["tiny_overlap"][:2])
    shown: Any = verdict_of(place)["tiny_overlap"]["examples"]
    found = [(row["found in"], row["user_id"]) for row in shown]
    both = [("left and right", user) for user in ("u10", "u11", "u12")]
    assert found[:4] == [*both, ("left", "other-u00")]
    assert found[8:] == [("right", f"u{number}") for number in range(13, 18)]


@pytest.mark.parametrize(
    ("descriptions", "check"),
    [
        ([None] * 30, None),  # CSV and null: there are none
        (["same"] * 10 + [None] * 20, None),  # a few items share a text
        (["same"] * 29 + ["other"], None),
        (["same"] * 16 + [None] * 14, "constant_columns"),
        (["", " "] * 10 + [None] * 10, "empty_text"),
    ],
)
def test_texts_that_say_nothing(
    place: Workspace, descriptions: list[str | None], check: str | None
) -> None:
    path = place.root / "data" / "left" / "items.csv"
    items = pl.read_csv(path).with_columns(pl.Series("description", descriptions))
    items.write_csv(path, quote_style="non_numeric")
    found = verdict_of(place)
    assert set(found) == ({check} if check else set())
    if check:
        assert found[check]["severity"] == "warning"
        assert "description" in str(found[check]["message"])
        assert found[check]["count"] == sum(d is not None for d in descriptions)


def test_many_unknown_items_are_critical(place: Workspace) -> None:
    edit(place, "interactions", text("item_id", "nowhere", 100))
    with pytest.raises(ValidationFailed, match=r"100 of 300.*at most 5 % .* ignored"):
        validate(place)


def test_a_mistyped_value_is_shown_with_its_row_and_the_plan_is_not(place: Workspace) -> None:
    edit(
        place,
        "interactions",
        lambda f: f.with_columns(
            pl.when(pl.int_range(pl.len()) == 7)
            .then(pl.lit("NaN"))
            .otherwise(pl.col("timestamp").cast(pl.String))
            .alias("timestamp")
        ),
    )
    found = verdict_of(place)
    assert set(found) == {"mistyped_timestamp", "missing_time"}
    assert found["mistyped_timestamp"]["severity"] == "warning"
    (example,) = found["mistyped_timestamp"]["examples"]  # type: ignore[misc]
    assert (example["row"], example["timestamp"]) == (8, "NaN")
    assert "ISO 8601" in str(found["mistyped_timestamp"]["message"])
    summary = (place.reports / "validation" / "summary.md").read_text()
    assert not {"WITH_COLUMNS", "strict_cast", "Resolved plan"} & set(summary.split())


def test_a_column_of_lists_is_counted_shown_and_given_a_remedy(place: Workspace) -> None:
    table = place.root / "data" / "left" / "items.parquet"
    items = pl.read_csv(table.with_suffix(".csv"))
    items.with_columns(pl.Series("category", [["tea", "gift"]] * 30)).write_parquet(table)
    data: Any = small_params()["data"]
    data["domains"]["left"]["items"] = "data/left/items.parquet"
    set_params(place, data=data)
    finding = verdict_of(place)["mistyped_columns"]
    assert (finding["severity"], finding["count"], finding["total"]) == ("critical", 30, 30)
    assert "category" in str(finding["message"])
    assert "tea" in str(finding["examples"])
    assert "with commas" in str(finding["remedy"])


def test_a_latin1_file_is_counted_shown_and_given_a_remedy(place: Workspace) -> None:
    path = place.root / "data" / "left" / "items.csv"
    path.write_bytes(path.read_text().replace("red", "r\u00e9d").encode("latin-1"))
    with pytest.raises(ValidationFailed, match=r"left/items: data/left/items\.csv is not UTF-8"):
        validate(place)
    finding = verdict_of(place)["undecodable"]
    assert (finding["count"], finding["total"]) == (10, 31)
    assert "\\xe9" in str(finding["examples"])
    assert "UTF-8" in str(finding["remedy"])


def test_items_without_an_id_are_critical(place: Workspace) -> None:
    edit(place, "items", text("item_id", " ", 2))
    finding = verdict_of(place)["missing_item"]
    assert (finding["severity"], finding["count"]) == ("critical", 2)


def test_a_misspelt_or_misdirected_expectation_is_an_error(place: Workspace) -> None:
    path = place.expectations / "items.json"
    suite = read_json(path)
    wrong = (
        ({"type": "expect_column_values_to_not_be_nul"}, "not_be_nul"),
        ({"kwargs": {"column": "title", "mostly": 1.5}}, "mostly"),
        ({"kwargs": {"colum": "title"}}, "colum"),
        ({"kwargs": {"column": "titel"}}, "titel"),
        ({"severity": "fatal"}, "fatal"),
    )
    for change, named in wrong:
        entry = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "title"}}
        entries = [*suite["expectations"], {**entry, **change}]
        path.write_text(json.dumps({**suite, "expectations": entries}))
        with pytest.raises(ConfigError, match=rf"items\.json.*expect_column.*{named}"):
            validate(place)


def test_an_expectation_that_cannot_be_computed_is_an_error(
    place: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    path = place.expectations / "items.json"
    suite = read_json(path)
    entry = {
        "type": "expect_column_values_to_match_regex",
        "kwargs": {"column": "title", "regex": "("},
    }
    path.write_text(json.dumps({**suite, "expectations": [entry]}))
    with pytest.raises(ConfigError, match=r"items\.json: expect_column_values_to_match_regex"):
        validate(place)
    assert "Traceback" not in capfd.readouterr().err


def test_numbers_that_are_users_and_items_are_not_swapped(place: Workspace) -> None:
    for domain in ("left", "right"):
        for table in ("interactions", "items"):
            path = place.root / "data" / domain / f"{table}.csv"
            frame = pl.read_csv(path)
            ids = [c for c in ("user_id", "item_id") if c in frame.columns]
            frame.with_columns(pl.col(ids).str.slice(1).cast(pl.Int64) % 30).write_csv(path)
    # all user numbers are item numbers, and a few items are unknown
    edit(place, "interactions", number("item_id", 4000, 3))
    assert set(verdict_of(place)) == {"unknown_items"}


def ahead(days: int, share: float) -> Edit:
    every = round(1 / share)
    return lambda f: f.with_columns(
        pl.when(pl.int_range(pl.len()) % every == 0)
        .then(pl.col("timestamp") + days * 86_400)
        .otherwise("timestamp")
        .alias("timestamp")
    )


@pytest.mark.parametrize(
    ("change", "least"), [(ahead(27_000, 0.03), 9), (ahead(300, 0.01), 2)], ids=["2095", "300 d"]
)
def test_times_ahead_of_the_rest_are_suspect(place: Workspace, change: Edit, least: int) -> None:
    edit(place, "interactions", change)
    finding = verdict_of(place)["future_times"]
    assert least <= finding["count"] <= 12  # type: ignore[operator]


def test_a_table_that_lies_in_the_future_is_suspect(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = 2_840_000_000 - 1_600_000_000  # to about 2060
    edit(place, "interactions", lambda f: f.with_columns(pl.col("timestamp") + later))
    newest: Any = pl.read_csv(place.root / "data" / "left" / "interactions.csv")["timestamp"].max()
    finding = verdict_of(place)["future_times"]
    assert (finding["severity"], finding["count"]) == ("warning", 300)
    assert "times in the future" in str(finding["message"])
    first = file_hash(place.reports / "validation")
    monkeypatch.setattr(time, "time", lambda: 1_790_000_000 + 86_400)  # another day, same report
    verdict_of(place)
    assert file_hash(place.reports / "validation") == first
    monkeypatch.setattr(time, "time", lambda: newest)
    assert verdict_of(place) == {}
    # said in params.yaml, and then no clock is read
    monkeypatch.setattr(time, "time", lambda: 0)
    set_params(place, validation={"min_overlapping_users": 5, "latest_timestamp": newest})
    assert verdict_of(place) == {}
    set_params(place, validation={"min_overlapping_users": 5, "latest_timestamp": newest - 1})
    assert verdict_of(place)["future_times"]["count"] == 1


def test_one_time_for_all_rows_that_have_one(place: Workspace) -> None:
    edit(place, "interactions", number("timestamp", 1_600_000_000, 300))
    edit(place, "interactions", text("timestamp", "", 1))
    found = verdict_of(place)
    assert set(found) == {"constant_times", "missing_time"}
    assert found["constant_times"]["count"] == 299
    shown: Any = found["constant_times"]["examples"]
    assert shown[0]["row"] == 2


GROWTH: dict[str, Edit] = {
    # the youngest rows are the most; a domain whose export is a year newer; one that fades
    "growing": lambda f: f.with_columns(
        (1_500_000_000 + (f["timestamp"].rank("ordinal") / f.height).log1p() * 1.8e8).cast(pl.Int64)
    ),
    "exponential": lambda f: f.with_columns(
        (1_620_000_000 + (f["timestamp"].rank("ordinal") / f.height).log() * 2e7).cast(pl.Int64)
    ),
    "newer": lambda f: f.with_columns(pl.col("timestamp") * 2 - 1_600_000_000),
    "fading": lambda f: f.with_columns(
        (
            1_530_000_000 - (f["timestamp"].rank("ordinal") / f.height * 0.97 + 0.03).log() * 2.5e7
        ).cast(pl.Int64)
    ),
}


@pytest.mark.parametrize("shape", GROWTH)
def test_platforms_that_grow_fade_or_export_later_are_not_suspect(
    place: Workspace, shape: str
) -> None:
    edit(place, "interactions", GROWTH[shape])
    assert verdict_of(place) == {}


def test_rows_in_another_unit_are_told_so(place: Workspace) -> None:
    """Some rows in milliseconds among seconds."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        mixed = pl.when(pl.int_range(pl.len()) % 10 == 0).then(1000).otherwise(1)
        return frame.with_columns(pl.col("timestamp") * mixed)

    edit(place, "interactions", change)
    remedy = str(verdict_of(place)["impossible_times"]["remedy"])
    assert "30 would be dates in ms, the others are in s" in remedy


def test_constant_times_without_the_temporal_protocol_warn(place: Workspace) -> None:
    set_params(place, split={"protocols": ["leave_last"]}, gate={"protocol": "leave_last"})
    edit(place, "interactions", number("timestamp", 1_600_000_000, 300))
    assert verdict_of(place)["constant_times"]["severity"] == "warning"


def test_identities_must_exist_and_name_one_person_per_account(place: Workspace) -> None:
    domains = small_params()["data"]
    set_params(place, data={**domains, "identities": "data/who.csv"})  # type: ignore[dict-item]
    missing = verdict_of(place)
    assert missing["missing_file"]["severity"] == "critical"
    assert "data/who.csv does not exist" in str(missing["missing_file"]["message"])
    rows = [f"left,u{n:02d},p{n}" for n in range(20)]
    head = "domain,user_id,person_id"
    who = place.root / "data" / "who.csv"
    who.write_text("\n".join([head, *rows, "right,u15,p15", "left,u03,p3", "left,u04,p77", ""]))
    found = verdict_of(place)["ambiguous_identities"]
    assert (found["severity"], found["count"]) == ("critical", 2)
    assert found["examples"] == [
        {"domain": "left", "user_id": "u04", "person_id": p} for p in ("p4", "p77")
    ]
    who.write_text("account\n1\n")
    assert verdict_of(place)["missing_columns"]["remedy"]
