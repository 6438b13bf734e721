"""Every defect that the validate stage must catch: severity, count, examples, remedy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.errors import ValidationFailed
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


def text(column: str, value: str, rows: int) -> Edit:
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) < rows).then(pl.lit(value)).otherwise(column).alias(column)
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
    "empty_titles": ("items", text("title", "", 2), "warning", 2),
    "constant_text": ("items", text("title", "same", 30), "critical", 0),
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
    if count:
        assert finding["count"] == count
    if check not in ("constant_text", "tiny_overlap"):
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


def test_many_unknown_items_are_critical(place: Workspace) -> None:
    edit(place, "interactions", text("item_id", "nowhere", 100))
    with pytest.raises(ValidationFailed, match="100 of 300"):
        validate(place)
