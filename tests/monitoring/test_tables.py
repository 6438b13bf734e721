"""The tables against what was trained on and against the weeks before."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.monitoring.tables import DAY, TableDrift, table_drift
from helpers import small_params

WEEK = 7 * DAY


def write(root: Path, seed: int, last_week: int = 1000, likes: float = 0.3) -> Workspace:
    """Ten weeks of about 1,000 events each; people act several times and always in one way."""
    rng = np.random.default_rng(seed)
    for domain in ("left", "right"):
        folder = root / "data" / domain
        folder.mkdir(parents=True, exist_ok=True)
        ids = [f"{domain}{i}" for i in range(100)]
        pl.DataFrame({"item_id": ids, "title": ids}).write_csv(folder / "items.csv")
        parts = []
        for week in range(10):
            size = last_week if week == 9 else int(rng.normal(1000, 40))
            person = rng.integers(0, 200, size) if week < 9 else rng.integers(100, 300, size)
            share = likes if week == 9 else 0.3
            kind = np.where(np.random.default_rng(person.max()).random(300) < share, "like", "view")
            time = 1_600_000_000 + WEEK * week + rng.integers(0, WEEK, size)
            parts.append(
                pl.DataFrame({"user_id": person, "item_id": rng.choice(ids, size),
                              "timestamp": time, "kind": kind[person]})
            )  # fmt: skip
        pl.concat(parts).sort("timestamp").write_csv(folder / "interactions.csv")
    (root / "params.yaml").write_text(yaml.safe_dump(small_params()))
    return Workspace.open(root)


def judge(workspace: Workspace, last: dict[str, dict[str, str]] | None = None) -> TableDrift:
    known = pl.DataFrame(
        {
            "domain": ["left"] * 100 + ["right"] * 100,
            "item_id": [f"left{i}" for i in range(100)] + [f"right{i}" for i in range(100)],
        }
    )
    return table_drift(workspace, known, last, alpha=0.05)


def test_steady_tables_raise_few_alarms(tmp_path: Path) -> None:
    alarms = sum(judge(write(tmp_path, seed)).drift for seed in range(30))
    assert alarms <= 5  # above 5 has probability 0.3 % at a rate of 5 %


def test_a_volume_that_falls_and_kinds_that_change_are_found(tmp_path: Path) -> None:
    few = judge(write(tmp_path, 0, last_week=500))
    drifted = [c for c in few.checks if c.drift]
    assert {c.name for c in drifted} == {"events per window"}
    assert drifted[0].current == pytest.approx(500, abs=20)
    assert drifted[0].reference == pytest.approx(1000, rel=0.1)
    liked = judge(write(tmp_path, 1, likes=0.8))
    assert any(c.drift and c.name.startswith("event kinds") for c in liked.checks)
    assert "event kinds" in liked.words


def test_new_and_vanished_items_columns_and_files(tmp_path: Path) -> None:
    workspace = write(tmp_path, 2)
    last = judge(workspace).columns
    table = tmp_path / "data" / "left" / "items.csv"
    items = pl.read_csv(table)
    items = pl.concat(
        [items.tail(90), items.head(3).with_columns(item_id="new-" + pl.col("item_id"))]
    )
    items.with_columns(colour=pl.lit("red")).write_csv(table)
    found = judge(workspace, last)
    left, right = found.catalogues
    assert (left.items, left.new, left.vanished, left.drift) == (93, 3, 10, True)
    assert (right.new, right.vanished, right.drift) == (0, 0, False)
    assert found.schema == ("data/left/items.csv: the column colour is new since the last run",)
    assert "new-left0" in found.words
    table.unlink()
    broken = judge(workspace, last)
    assert broken.drift
    assert "does not exist" in broken.words
