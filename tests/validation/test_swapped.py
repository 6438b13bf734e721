"""Swapped columns of users and items whose ids are the same numbers."""

import numpy as np
import polars as pl
import pytest

from bridgerec.validation.swapped import looks_swapped


def table(users: int, met: int, unknown: float = 0.0) -> pl.DataFrame:
    """Interactions of users 1, 2, … with `met` of the items 1 to 1000, and some after them."""
    rng = np.random.default_rng(users)
    item = rng.choice(np.arange(1, 1001), met, replace=False)[rng.integers(0, met, 5000)]
    item = np.where(rng.random(5000) < unknown, item + 1000, item)
    return pl.DataFrame({"user_id": rng.integers(1, users + 1, 5000), "item_id": item}).cast(
        pl.String
    )


CATALOGUE = pl.Series(range(1, 1001)).cast(pl.String)
SWAP = {"user_id": "item_id", "item_id": "user_id"}


@pytest.mark.parametrize("users", [200, 600, 890, 1200, 3000])
def test_numbers_that_both_have_are_told_apart(users: int) -> None:
    for met in (100, 300, 1000):
        right = table(users, met)
        assert not looks_swapped(right, CATALOGUE, 0.05)
        assert looks_swapped(right.rename(SWAP), CATALOGUE, 0.05) or met == 100


@pytest.mark.parametrize("users", [200, 1500])
def test_a_few_unknown_items_do_not_matter(users: int) -> None:
    rows = table(users, 1000, unknown=0.02)
    assert not looks_swapped(rows, CATALOGUE, 0.05)
    assert looks_swapped(rows.rename(SWAP), CATALOGUE, 0.05)


def test_people_who_recommend_people_are_not_swapped() -> None:
    rows = table(1000, 700)
    assert not looks_swapped(rows, CATALOGUE, 0.05)
    assert not looks_swapped(rows.rename(SWAP), CATALOGUE, 0.05)


def test_ids_that_only_one_side_has() -> None:
    rows = table(50, 20).with_columns(user_id="u" + pl.col("user_id"))
    assert not looks_swapped(rows, CATALOGUE, 0.05)
    assert looks_swapped(rows.rename(SWAP), CATALOGUE, 0.05)
    assert not looks_swapped(rows.clear(), CATALOGUE, 0.05)
