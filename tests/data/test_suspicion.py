"""Fake people are found, honest ones are hardly touched."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bridgerec.config import KCore, Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.data.prepare import prepare
from bridgerec.data.simulate import DOMAINS, simulate
from bridgerec.data.simulation.attack import PREFIX, Attack, noise, push
from bridgerec.data.split import Assignment, Pairs
from bridgerec.data.suspicion import SIGNS, describe, set_aside, suspicion
from bridgerec.errors import ConfigError
from bridgerec.runtime import read_json
from helpers import small_params

THRESHOLD = 6.0


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    root = tmp_path_factory.mktemp("world")
    simulate(root, seed=5, users=1000, items=200)
    tables = []
    for domain, ending in DOMAINS.items():
        path = root / "data" / domain / f"interactions.{ending}"
        tables.append(pl.read_csv(path) if ending == "csv" else pl.read_ndjson(path))
    columns = ["user_id", "item_id", "timestamp"]
    return pl.concat([t.select(columns) for t in tables])


def seldom(events: pl.DataFrame) -> tuple[str, ...]:
    """Three films that few people met."""
    counts = events.filter(pl.col("item_id").str.starts_with("F"))["item_id"].value_counts()
    return tuple(counts.sort("count", "item_id")["item_id"][10:13])


def attack(events: pl.DataFrame, kind: str, people: int = 40) -> Attack:
    start = int(events["timestamp"].max()) - 60 * 86_400  # type: ignore[arg-type]
    return Attack(kind, people, seldom(events), start)  # type: ignore[arg-type]


def found(events: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Who is suspicious, and who is fake, of everybody with enough rows."""
    rows = events.group_by("user_id", "item_id").agg(pl.col("timestamp").min())
    rows = rows.sort("user_id", "timestamp", "item_id")
    names, user = np.unique(rows["user_id"].to_list(), return_inverse=True)
    ids, item = np.unique(rows["item_id"].to_list(), return_inverse=True)
    domain = np.searchsorted(["B", "F", "K"], ids.astype("U1"))
    time = rows["timestamp"].to_numpy()
    result = suspicion(user.astype(np.int32), item.astype(np.int32), time, domain)
    fake = np.char.startswith(names, PREFIX)
    return result.suspicious(THRESHOLD), fake[result.users]


def test_honest_people_are_left_alone(events: pl.DataFrame) -> None:
    suspicious, _ = found(events)
    assert suspicious.mean() < 0.002


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("kind", ["random", "average", "bandwagon", "burst"])
def test_a_group_that_pushes_items_is_found(events: pl.DataFrame, kind: str, wide: bool) -> None:
    """Fillers from all domains, and from the pushed items' own."""
    fillers = events if wide else events.filter(pl.col("item_id").str.starts_with("F"))
    suspicious, fake = found(pl.concat([events, push(fillers, attack(events, kind), seed=1)]))
    assert fake.sum() == 40
    assert suspicious[fake].mean() >= 0.85
    assert suspicious[~fake].mean() < 0.03


def test_a_robot_and_twins_are_found(events: pl.DataFrame) -> None:
    ids = events["item_id"].unique().sort()
    start = int(events["timestamp"].min())  # type: ignore[arg-type]
    like = events.filter(
        pl.col("user_id") == events["user_id"].value_counts().sort("count")["user_id"][-1]
    )
    robot = pl.DataFrame(
        {"user_id": f"{PREFIX}robot", "item_id": ids, "timestamp": start + 5 * np.arange(len(ids))}
    )
    twin = like.with_columns(pl.lit(f"{PREFIX}twin").alias("user_id"))
    suspicious, fake = found(pl.concat([events, robot, twin]))
    assert suspicious[fake].all()


def test_attacks_are_what_they_say(events: pl.DataFrame) -> None:
    top = events["item_id"].value_counts().sort("count", "item_id", descending=[True, False])
    for kind in ("random", "average", "bandwagon", "burst"):
        wanted = attack(events, kind, people=5)
        rows = push(events, wanted, seed=1)
        assert rows.columns == events.columns
        assert rows.equals(push(events, wanted, seed=1))
        assert not rows.equals(push(events, wanted, seed=2))
        for _, own in rows.group_by("user_id"):
            assert own["item_id"].n_unique() == len(own) == len(wanted.items) + wanted.fillers
            assert set(wanted.items) <= set(own["item_id"])
            span = own["timestamp"].max() - own["timestamp"].min()  # type: ignore[operator]
            assert 0 <= span < (3600 if kind == "burst" else 14 * 86_400)
            if kind == "bandwagon":
                assert set(top["item_id"][:10]) <= set(own["item_id"])
    with pytest.raises(ConfigError, match="fillers"):
        push(events, Attack("random", 1, (), 0, fillers=10_000), seed=1)


def test_noise_has_a_level(events: pl.DataFrame) -> None:
    rows = noise(events, 0.1, seed=1)
    assert len(rows) == round(0.1 * len(events))
    assert rows.equals(noise(events, 0.1, seed=1))
    assert rows["user_id"].is_in(events["user_id"].implode()).all()
    # random items, not those that the person likes
    assert len(rows.join(events, on=["user_id", "item_id"], how="semi")) < 0.2 * len(rows)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 12), st.booleans())
@settings(max_examples=60, deadline=None)
def test_signs_and_weights_of_any_data(seed: int, people: int, items: int, timed: bool) -> None:
    rng = np.random.default_rng(seed)
    met = np.unique(rng.integers(0, people * items, 80))
    user, item = (met // items).astype(np.int32), (met % items).astype(np.int32)
    time = np.sort(rng.integers(0, 10**6, len(met))) if timed else None
    domain = np.sort(rng.integers(0, 3, items))
    signs = suspicion(user, item, time, domain)
    assert signs.signs.shape == (len(signs.users), len(SIGNS))
    assert np.isfinite(signs.signs).all()
    assert (signs.signs >= 0).all()
    count = np.arange(len(met))
    pairs = Pairs(user, item, time, count, count[:0], count[:0], np.ones(len(met), np.float32))
    part = rng.integers(0, 3, len(met)).astype(np.int8)
    weight = rng.random(len(met), dtype=np.float32) + 1
    split = Assignment("s", (), None, part, weight, part == 0, {})
    changed, table = set_aside(split, pairs, domain, rng.uniform(0.1, 3), KCore(user=1, item=2))
    out = np.isin(user, table["user"].to_numpy()) & (part == 0)
    assert (changed.weight == np.where(out, 0, weight)).all()
    assert not (changed.fit & (out | (part != 0))).any()
    counts = np.bincount(item[changed.fit], minlength=items)
    assert ((counts == 0) | (counts >= 2)).all()
    assert (table["rows"] == np.bincount(user[part == 0], minlength=people)[table["user"]]).all()
    assert describe(table).startswith(f"{len(table)} suspicious people")


def test_the_future_accuses_nobody() -> None:
    """What somebody does after the training rows changes no sign."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(20, dtype=np.int32), 10)
    item = np.tile(np.arange(10, dtype=np.int32), 20)
    part = np.tile(np.repeat([0, 2], [6, 4]).astype(np.int8), 20)
    count, ones = np.arange(200), np.ones(200, dtype=np.float32)
    tables = []
    for _ in range(2):
        time = np.where(part == 0, np.tile(np.arange(10), 20), rng.integers(10, 10**6, 200))
        pairs = Pairs(user, item, time, count, count[:0], count[:0], ones)
        split = Assignment("s", (), None, part, ones, part == 0, {})
        tables.append(set_aside(split, pairs, np.zeros(10, dtype=np.int64), 0.1, KCore())[1])
    assert tables[0].equals(tables[1])


def test_prepare_sets_suspicious_people_aside(small_workspace: Workspace) -> None:
    root: Path = small_workspace.root
    assert prepare(small_workspace)["people"] == 60
    assert not (small_workspace.prepared / "suspicious.parquet").exists()
    for domain in ("left", "right"):
        path = root / "data" / domain / "interactions.csv"
        frame = pl.read_csv(path)
        robot = pl.DataFrame(
            {
                "user_id": "robot",
                "item_id": [f"{domain[0]}{i:02d}" for i in range(30)],
                "timestamp": 1_600_000_000 + 10 * np.arange(30),
                "kind": "view",
            }
        )
        pl.concat([frame, robot]).write_csv(path)
    params = small_params(prepare={"suspicious": {}})
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    told: list[str] = []
    prepare(Workspace.open(root), told.append)
    table = pl.read_parquet(small_workspace.prepared / "suspicious.parquet")
    # in so small a world honest people do meet the same items
    assert set(table.filter(pl.col("reason") != "twin")["user_id"]) == {"robot"}
    described = read_json(small_workspace.prepared / "splits.json")
    catalogue = Catalogue.read(small_workspace.prepared / "items.parquet")
    for name, info in described.items():
        own = table.filter(pl.col("split") == name)
        assert "robot" in set(own["user_id"])
        assert info["suspicious_people"] == len(own) < 5
        assert any(f"split {name}: {len(own)} suspicious people" in line for line in told)
        split = Split.read(small_workspace.prepared, name, catalogue)
        assert not np.isin(split.training().users, own["user"].to_numpy()).any()
        train = np.isin(split.user, own["user"].to_numpy()) & (split.part == 0)
        assert (split.weight[train] == 0).all()
        assert (split.weight[~train] > 0).all()
