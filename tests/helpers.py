"""What several test modules call; fixtures are in conftest.py."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from bridgerec.config import Workspace
from bridgerec.serving.state import Event, NewItem
from bridgerec.serving.state.sqlite import SqliteStore

REPOSITORY = Path(__file__).parents[1]


def dvc(root: Path, *arguments: str) -> str:
    """DVC's output, with this environment's commands in reach of the stages."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(root: Path, *words: str) -> str:
    """What `git WORDS` prints."""
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


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


def small_world(root: Path) -> Workspace:
    """Tables of two domains, 60 people (40 of them in both), tastes that agree between domains."""
    rng = np.random.default_rng(0)
    for number, domain in enumerate(("left", "right")):
        folder = root / "data" / domain
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
    (root / "params.yaml").write_text(yaml.safe_dump(small_params()))
    return Workspace.open(root)


def accept(workspace: Workspace, events: Sequence[Event], items: Sequence[NewItem] = ()) -> None:
    """What the workspace's service does on POST /events and /items."""

    async def work() -> None:
        await store.add(events)
        for item in items:
            await store.add_item(item)

    store = SqliteStore(workspace.state)
    asyncio.run(work())
    store.close()
