"""Rules and explanations in the answers of a packaged release."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from bridgerec.config import Workspace
from bridgerec.errors import ConfigError
from bridgerec.registry.bundle import find_bundle
from bridgerec.serving.finishing import Finishing
from bridgerec.serving.ranker import Recommender
from bridgerec.serving.state import NewItem

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def known(finished: Workspace) -> Recommender:
    return Recommender.open(find_bundle(finished.bento))


@pytest.fixture(scope="module")
def user(known: Recommender) -> str:
    """Somebody who met at least five films."""
    block = known.shelf.catalogue.block("films")
    met = known.people.stored.within(block).lengths
    return known.people.names[int(np.flatnonzero(met >= 5)[0])]


def ask(known: Recommender, user: str, **more: Any) -> list[dict[str, Any]]:
    found = known.recommend({"target": "films", "user_id": user, "k": 10, **more})
    return list(found["items"])


def spread(known: Recommender, items: list[dict[str, Any]]) -> float:
    """Mean cosine between the items of a list."""
    own = known.shelf.index["films"]
    vectors = known.shelf.vector(np.array([own[i["item_id"]] for i in items]))
    cosines = vectors @ vectors.T
    return float(cosines[~np.eye(len(items), dtype=bool)].mean())


def met(known: Recommender, user: str) -> set[str]:
    """The ids of a person's packaged history."""
    items = known.people.packaged(known.people.row(None, user)).items
    return {known.shelf.columns["item_id"][item] for item in items}


def test_diversity_makes_lists_more_varied(known: Recommender, user: str) -> None:
    plain, varied = ask(known, user), ask(known, user, diversity=0.8)
    assert plain == ask(known, user, diversity=0)
    assert spread(known, varied) < spread(known, plain)
    best = ask(known, user, k=200)
    assert {i["item_id"] for i in varied} <= {i["item_id"] for i in best}


def test_reasons_name_history_and_moves(known: Recommender, user: str) -> None:
    assert all(item["explanation"] is None for item in ask(known, user))
    told = ask(known, user, explain=True, diversity=0.8)
    named = [b for item in told for b in item["explanation"]["because"]]
    assert named
    assert {b["item_id"] for b in named} <= met(known, user)
    assert all(b["contribution"] > 0 and b["title"] for b in named)
    moved = [m for item in told for m in item["explanation"]["moved"]]
    assert {m["rule"] for m in moved} == {"MMR"}
    plain = [item["item_id"] for item in ask(known, user, k=200)]
    for item in told:
        for move in item["explanation"]["moved"]:
            assert plain.index(item["item_id"]) + 1 == move["from"]
            assert item["rank"] == move["to"]


def test_all_options_work_together(known: Recommender, user: str) -> None:
    """Several targets, filters, allowed and denied items, variety and reasons in one request."""
    both = {"target": ["films", "books"], "user_id": user, "diversity": 0.6, "explain": True}
    free = known.recommend({**both, "k": 100})
    prices = sorted(item["price"] for item in free["items"] if item["price"] is not None)
    top = prices[len(prices) // 2]
    brands = [i["brand"] for i in free["items"] if i["brand"] and (i["price"] or 1e9) <= top]
    filters = {"price_max": top, "brands": sorted(set(brands))[:12]}
    some = known.recommend({**both, "k": 100, "filters": filters})["items"]
    ids = [item["item_id"] for item in some]
    assert len(ids) >= 8
    allow, exclude = ids[:6], ids[1:3]
    found = known.recommend(
        {**both, "k": 5, "filters": filters, "allow": [*allow, "no-such"], "exclude": exclude}
    )
    left = set(allow) - set(exclude)
    assert {item["item_id"] for item in found["items"]} == left
    assert found["notes"] == [f"only {len(left)} items are left after exclusions"]
    for place, item in enumerate(found["items"]):
        assert item["rank"] == place + 1
        assert item["price"] <= top
        assert item["brand"] in filters["brands"]
        assert item["item_id"] not in met(known, user)
        assert {b["item_id"] for b in item["explanation"]["because"]} <= met(known, user)
    assert {"films", "books"} == set(found["routes"])
    assert {item["domain"] for item in free["items"]} == {"films", "books"}
    assert "MMR" in {m["rule"] for i in free["items"] for m in i["explanation"]["moved"]}


def test_rules_of_the_release_apply(known: Recommender, user: str) -> None:
    title = ask(known, user, k=30)[-1]["item_id"]
    boost = {"use": "bridgerec.serving.boosts:Boost", "items": [title], "add": 100.0}
    service = {**known.service, "rules": [boost]}
    pushed = replace(known, service=service)
    assert ask(pushed, user)[0]["item_id"] == title
    with pytest.raises(ConfigError, match=r"service\.rules"):
        Finishing(known.shelf, {**service, "rules": [{"use": "bridgerec.nothing:Rule"}]})


def test_an_added_item_can_be_varied_and_explained(finished: Workspace, user: str) -> None:
    known = Recommender.open(find_bundle(finished.bento))
    best = ask(known, user)[0]
    own = known.shelf.index["films"][best["item_id"]]
    new = NewItem("films", "brand-new", f"{best['title']} again", "", best["category"], "")
    known.shelf = known.shelf.taking([new], known.shelf.vector(np.array([own])), 1)
    told = ask(known, user, k=200, explain=True, diversity=0.3)
    (mine,) = [item for item in told if item["item_id"] == "brand-new"]
    assert mine["explanation"]["because"]
    later = ask(known, user, history=[{"domain": "films", "item_id": "brand-new"}], explain=True)
    assert "brand-new" in {b["item_id"] for i in later for b in i["explanation"]["because"]}


def test_the_table_of_rules_follows_the_data(known: Recommender, finished: Workspace) -> None:
    table = known.shelf.table
    rows = pl.read_parquet(finished.prepared / "interactions.parquet")
    first = dict(rows.group_by("item").agg(pl.col("timestamp").min()).iter_rows())
    assert np.nanmin(table.born) == min(first.values())
    assert len(table) == len(known.shelf.catalogue)
