"""Small worlds that many tests share."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Histories, Training
from bridgerec.runtime import prepare_environment

prepare_environment()


def small_params(**changes: object) -> dict[str, object]:
    """The least that params.yaml needs, for two domains of CSV tables."""
    return {
        "seed": 1,
        "data": {
            "domains": {
                d: {"interactions": f"data/{d}/interactions.csv", "items": f"data/{d}/items.csv"}
                for d in ("left", "right")
            }
        },
        "candidates": ["popularity"],
        "models": {"popularity": {"use": "bridgerec.models.popularity:Popularity"}},
        **changes,
    }


@pytest.fixture
def small_workspace(tmp_path: Path) -> Workspace:
    """Two domains, 60 people (40 of them in both), tastes that agree between domains."""
    rng = np.random.default_rng(0)
    for number, domain in enumerate(("left", "right")):
        folder = tmp_path / "data" / domain
        folder.mkdir(parents=True)
        ids = [f"{domain[0]}{i:02d}" for i in range(30)]
        titles = [f"{domain} {['red', 'green', 'blue'][i % 3]} thing {i}" for i in range(30)]
        pl.DataFrame({"item_id": ids, "title": titles}).write_csv(folder / "items.csv")
        rows = []
        for user in range(60):
            if (number == 0 and user >= 50) or (number == 1 and user < 10):
                continue
            liked = [i for i in range(30) if i % 3 == user % 3]
            for item in rng.choice(liked, 6, replace=False):
                rows.append((f"u{user:02d}", ids[item], int(rng.integers(1.6e9, 1.63e9)), "view"))
        pl.DataFrame(
            rows, schema=["user_id", "item_id", "timestamp", "kind"], orient="row"
        ).write_csv(folder / "interactions.csv")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_params()))
    return Workspace.open(tmp_path)


@pytest.fixture(scope="session")
def training() -> Training:
    """Two domains of 30 items in three tastes; vectors that tell the tastes apart."""
    rng = np.random.default_rng(0)
    items = pl.DataFrame(
        {
            "domain": ["left"] * 30 + ["right"] * 30,
            "item_id": [f"i{n}" for n in range(60)],
            "title": [f"thing {n}" for n in range(60)],
        }
    )
    rows = [[*rng.choice(np.arange(n % 3, 60, 3), 9, replace=False).tolist()] for n in range(120)]
    histories = Histories.of(rows)
    taste = np.eye(3)[np.arange(60) % 3]
    vectors = np.hstack([taste, 0.3 * rng.normal(size=(60, 13))]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    time = rng.integers(1_600_000_000, 1_630_000_000, len(histories.items))
    return Training(Catalogue(items), np.arange(120), histories, time, vectors)
