"""The demo data are what they claim to be."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from bridgerec.data.simulate import DOMAINS, simulate, true_items, true_preferences
from bridgerec.data.simulation.pictures import PICTURED
from bridgerec.errors import ConfigError
from bridgerec.runtime import file_hash


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    simulate(root, seed=5, users=600, items=400)
    return root


def table(root: Path, domain: str, name: str) -> pl.DataFrame:
    path = root / "data" / domain / f"{name}.{DOMAINS[domain]}"
    return pl.read_csv(path) if path.suffix == ".csv" else pl.read_ndjson(path)


def test_same_seed_same_bytes(world: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "a", seed=5, users=600, items=400)
    assert file_hash(tmp_path / "a" / "data") == file_hash(world / "data")
    simulate(tmp_path / "b", seed=6, users=600, items=400)
    assert file_hash(tmp_path / "b" / "data") != file_hash(world / "data")


@pytest.mark.parametrize("domain", list(DOMAINS))
def test_catalogue(world: Path, domain: str) -> None:
    items = table(world, domain, "items")
    assert items.height == 400
    assert items["item_id"].n_unique() == 400
    assert items["title"].n_unique() == 400
    chinese = items["title"].str.contains(r"[\u4e00-\u9fff]").mean()
    assert 0.08 < chinese < 0.25
    assert items["category"].str.contains(" > ").all()


@pytest.mark.parametrize("domain", list(DOMAINS))
def test_events(world: Path, domain: str) -> None:
    events, items = table(world, domain, "interactions"), table(world, domain, "items")
    assert set(events["item_id"]) < set(items["item_id"])  # some items are cold
    assert events.is_duplicated().sum() == 0
    assert events["timestamp"].is_between(1_704_067_200, 1_735_689_599).all()
    assert events.filter(pl.col("kind") == "rating")["value"].is_between(1, 5).all()
    counts = events["item_id"].value_counts()["count"].sort(descending=True)
    assert counts[: len(counts) // 10].sum() > 0.25 * counts.sum()  # popularity is skewed


@pytest.mark.parametrize("domain", list(DOMAINS))
def test_prices_fit_what_was_paid(world: Path, domain: str) -> None:
    items = table(world, domain, "items")
    assert items["price"].min() > 0
    assert items["price"].n_unique() > 100
    paid = table(world, domain, "interactions").filter(pl.col("kind") == "purchase")
    assert (paid.height == 0) == (domain == "films")
    units = (paid.join(items, on="item_id", how="left").select(pl.col("value") / pl.col("price")))[
        "value"
    ]
    assert set(units.round(6).unique()) <= {1.0, 2.0}


@pytest.mark.parametrize("domain", PICTURED)
def test_pictures_show_what_texts_leave_out(world: Path, domain: str) -> None:
    items, truth = table(world, domain, "items"), true_items(world, domain)
    there = (items["image"].fill_null("") != "").to_numpy()
    folder = world / "data" / domain
    assert {f"images/{p.name}" for p in (folder / "images").iterdir()} == set(
        items["image"].filter(there)
    )
    assert 0.75 < there.mean() < 0.95
    rim, area = [], []
    for path in items["image"].filter(there):
        with Image.open(folder / path) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
            numbers = np.asarray(picture)
        assert pixels.shape == (48, 48, 3)
        rim.append(np.median(pixels[0]))
        area.append((numbers == 2).mean())
    assert np.corrcoef(rim, truth.appeal[there])[0, 1] > 0.5
    second = np.sort(truth.themes[there], axis=1)[:, -2]
    assert np.corrcoef(area, second)[0, 1] > 0.5


def test_pictures_are_told_from_a_users_own(tmp_path: Path) -> None:
    simulate(tmp_path, seed=1, users=60, items=60)
    simulate(tmp_path, seed=2, users=60, items=60)
    mine = tmp_path / "data" / "films" / "images" / "mine.png"
    mine.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="did not write"):
        simulate(tmp_path, seed=1, users=60, items=60)
    assert mine.is_file()


def test_people_overlap_in_part(world: Path) -> None:
    users = [set(table(world, d, "interactions")["user_id"]) for d in DOMAINS]
    shared = [u for u in set.union(*users) if sum(u in part for part in users) > 1]
    assert 0.25 < len(shared) / len(set.union(*users)) < 0.6


def test_true_preferences_explain_what_people_did(world: Path) -> None:
    """Ranking by truth finds the interactions far better than ranking by popularity."""
    for domain in DOMAINS:
        users, items, truth = true_preferences(world, domain)
        np.testing.assert_allclose(truth.sum(1), 1)
        events = table(world, domain, "interactions").unique(["user_id", "item_id"])
        u = np.searchsorted(users, events["user_id"].to_numpy())
        i = np.searchsorted(items, events["item_id"].to_numpy())
        popular = np.bincount(i, minlength=len(items))
        oracle = (truth[u] > truth[u, i][:, None]).sum(1)
        crowd = (popular > popular[i][:, None]).sum(1)
        assert (oracle < 10).mean() > 1.5 * (crowd < 10).mean()
