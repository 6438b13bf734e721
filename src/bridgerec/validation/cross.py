"""Checks that need two tables, or more than a suite can say."""

from collections.abc import Iterator
from itertools import combinations

import polars as pl

from bridgerec.config import Domain, Params, Workspace
from bridgerec.data.readers import read_identities
from bridgerec.validation.derive import PLAUSIBLE, examples
from bridgerec.validation.finding import Finding

_SCALE = {"s": 1, "ms": 1_000, "us": 1_000_000}


def check_ids(
    name: str, rows: pl.DataFrame, items: pl.DataFrame, params: Params
) -> Iterator[Finding]:
    """Swapped columns, and interactions with items that the catalogue lacks."""
    known = items["item_id"].unique().implode()
    total, config = rows.height, params.validation
    unknown = rows.select(~pl.col("item_id").is_in(known)).to_series().fill_null(True)
    users_that_are_items = rows.select(pl.col("user_id").is_in(known)).to_series().sum()
    if users_that_are_items > total - unknown.sum():
        yield Finding(
            name, "interactions", "swapped_columns", "critical",
            "user_id holds item ids: the user and item columns are swapped",
            f"Exchange them under data.domains.{name}.interaction_columns in params.yaml",
            int(users_that_are_items), total, examples(rows, pl.lit(True), config.examples)[1],
        )  # fmt: skip
        return
    count, shown = examples(rows, pl.lit(unknown), config.examples)
    if count:
        critical = count / total > config.max_unknown_item_share
        yield Finding(
            name, "interactions", "unknown_items", "critical" if critical else "warning",
            "interactions name items that the catalogue lacks",
            "Add these items to the catalogue, or leave the rows out (they are ignored)",
            count, total, shown,
        )  # fmt: skip


def check_times(name: str, domain: Domain, rows: pl.DataFrame, params: Params) -> Iterator[Finding]:
    """Seconds taken for milliseconds or the reverse, impossible and future times."""
    if "timestamp" not in rows.columns:
        return
    n, total = params.validation.examples, rows.height
    if "raw_timestamp" in rows.columns and total:
        median = rows["raw_timestamp"].median()
        units = [
            u for u, s in _SCALE.items()
            if isinstance(median, int | float) and PLAUSIBLE[0] <= median / s < PLAUSIBLE[1]
        ]  # fmt: skip
        if units and domain.timestamp_unit not in units:
            yield Finding(
                name, "interactions", "timestamp_unit", "critical",
                f"timestamps look like {units[0]}, but params.yaml says {domain.timestamp_unit}",
                f"Set data.domains.{name}.timestamp_unit to {units[0]}",
                total, total, examples(rows, pl.lit(True), n)[1],
            )  # fmt: skip
            return
    count, shown = examples(rows, ~pl.col("timestamp").is_between(*PLAUSIBLE), n)
    if count:
        yield Finding(
            name, "interactions", "impossible_times", "critical",
            "times before 1990 or after 2100", "Correct or remove these rows",
            count, total, shown,
        )  # fmt: skip
    latest = params.validation.latest_timestamp
    limit = latest if latest is not None else _gap(rows)
    if limit is not None:
        count, shown = examples(
            rows, (pl.col("timestamp") > limit) & (pl.col("timestamp") < PLAUSIBLE[1]), n
        )
        if count:
            yield Finding(
                name, "interactions", "future_times", "critical" if latest else "warning",
                "times later than the data can hold",
                "Correct these rows; they would all fall into the test part",
                count, total, shown,
            )  # fmt: skip


def _gap(rows: pl.DataFrame) -> int | None:
    """A year after the time before which 99 % of the rows lie: what is later stands alone.

    Today's date must not decide, or the same data would be judged differently tomorrow.
    """
    late = rows["timestamp"].quantile(0.99)
    return None if late is None else int(late) + 365 * 86_400


def check_overlap(
    workspace: Workspace, params: Params, tables: dict[str, pl.DataFrame]
) -> Iterator[Finding]:
    """Do the domains share people at all?"""
    people = {name: _people(workspace, params, name, rows) for name, rows in tables.items()}
    config = params.validation
    for one, two in combinations(people, 2):
        shared = people[one].join(people[two], on="user_id", how="semi").height
        smaller = min(people[one].height, people[two].height)
        remedy = (
            "Check that both tables name people by the same ids (types, prefixes, swapped "
            "columns), or give a mapping table as data.identities"
        )
        if shared == 0:
            yield Finding(
                f"{one}+{two}", "interactions", "no_overlap", "critical",
                "the two domains share no person, so nothing can be carried over", remedy,
                0, smaller, people[one].head(2).to_dicts() + people[two].head(2).to_dicts(),
            )  # fmt: skip
        elif shared < config.min_overlapping_users or shared < config.min_overlap_share * smaller:
            yield Finding(
                f"{one}+{two}", "interactions", "tiny_overlap", "warning",
                "the two domains share very few people", remedy, shared, smaller, [],
            )  # fmt: skip


def _people(workspace: Workspace, params: Params, name: str, rows: pl.DataFrame) -> pl.DataFrame:
    users = rows.select("user_id").drop_nulls().unique().sort("user_id")
    if not params.data.identities:
        return users
    who = read_identities(workspace, params.data.identities).filter(pl.col("domain") == name)
    joined = users.join(who.select("user_id", "person_id"), on="user_id", how="left")
    return (
        joined.select(pl.coalesce("person_id", "user_id").alias("user_id")).unique().sort("user_id")
    )
