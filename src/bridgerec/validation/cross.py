"""Checks that need two tables: items that are known, people that are shared."""

from collections.abc import Iterator
from itertools import combinations

import polars as pl

from bridgerec.config import Params
from bridgerec.validation.derive import examples
from bridgerec.validation.finding import Finding
from bridgerec.validation.swapped import looks_swapped


def check_ids(
    name: str, rows: pl.DataFrame, items: pl.DataFrame, params: Params
) -> Iterator[Finding]:
    """Swapped columns, and interactions with items that the catalogue lacks."""
    known = items["item_id"].drop_nulls().unique().implode()
    total, config = rows.height, params.validation
    unknown = ~pl.col("item_id").is_in(known)  # null, and so not counted, where there is no id
    count, shown = examples(rows, unknown, config.examples)
    if looks_swapped(rows, items["item_id"], config.max_unknown_item_share):
        users, shown = examples(rows, pl.col("user_id").is_in(known), config.examples)
        yield Finding(
            name, "interactions", "swapped_columns", "critical",
            "user_id holds item ids: the user and item columns are swapped",
            f"Exchange them under data.domains.{name}.interaction_columns in params.yaml; if they "
            "are right, write a letter before the numbers of users",
            users, total, shown,
        )  # fmt: skip
    elif count:
        critical = count / total > config.max_unknown_item_share
        most = f"at most {100 * config.max_unknown_item_share:g} % (max_unknown_item_share) may be"
        yield Finding(
            name, "interactions", "unknown_items", "critical" if critical else "warning",
            "interactions name items that the catalogue lacks",
            "Add these items to the catalogue, or take the rows out "
            f"({most if critical else 'they are'} ignored)",
            count, total, shown,
        )  # fmt: skip


def check_overlap(
    params: Params, tables: dict[str, pl.DataFrame], identities: pl.DataFrame | None
) -> Iterator[Finding]:
    """Do the domains share people at all?"""
    people = {name: _people(name, rows, identities) for name, rows in tables.items()}
    config = params.validation
    for one, two in combinations(people, 2):
        both = people[one].join(people[two], on="user_id", how="semi")
        smaller = min(people[one].height, people[two].height)
        if both.height >= max(config.min_overlapping_users, config.min_overlap_share * smaller, 1):
            continue
        groups = {f"{one} and {two}": both}
        groups |= {name: people[name].join(both, on="user_id", how="anti") for name in (one, two)}
        what = "people" if both.height else "person, so nothing can be carried over"
        yield Finding(
            f"{one}+{two}", "interactions",
            "tiny_overlap" if both.height else "no_overlap",
            "warning" if both.height else "critical",
            f"the two domains share {'very few' if both.height else 'no'} {what}",
            "Check that both tables name people by the same ids (types, prefixes, swapped "
            "columns), or give a mapping table as data.identities",
            both.height, smaller,
            [
                {"found in": where, "user_id": user}
                for where, found in groups.items()
                for user in found["user_id"].sort().head(config.examples)
            ],
        )  # fmt: skip


def _people(name: str, rows: pl.DataFrame, identities: pl.DataFrame | None) -> pl.DataFrame:
    users = rows.select("user_id").drop_nulls().unique().sort("user_id")
    if identities is None:
        return users
    who = identities.filter(pl.col("domain") == name)
    joined = users.join(who.select("user_id", "person_id"), on="user_id", how="left")
    return (
        joined.select(pl.coalesce("person_id", "user_id").alias("user_id")).unique().sort("user_id")
    )
