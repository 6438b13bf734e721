"""Small worlds that many tests share."""

import os
import shutil
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Histories, Training
from bridgerec.runtime import prepare_environment
from helpers import REPOSITORY, dvc, small_world

prepare_environment()
sys.path.insert(0, str(REPOSITORY))  # flows/ is no installed package


@pytest.fixture
def small_workspace(tmp_path: Path) -> Workspace:
    """Two domains, 60 people (40 of them in both), tastes that agree between domains."""
    return small_world(tmp_path)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The demo's own pipeline over a smaller simulated world, run to its end by `dvc repro`.

    Tests that change it work on a copy.
    """
    from bridgerec.data.simulate import simulate

    root = tmp_path_factory.mktemp("finished") / "workspace"
    root.mkdir()
    simulate(root, seed=7, users=900, items=160)
    for name in ("dvc.yaml", "bentofile.yaml"):
        shutil.copy(REPOSITORY / name, root / name)
    shutil.copytree(REPOSITORY / "expectations", root / "expectations")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["candidates"] = ["popularity", "ease_concat", "ease_text", "two_tower", "sequence"]
    params["targets"] = ["films"]
    params["split"]["protocols"] = ["temporal", "cold_start"]
    params["models"]["two_tower"].update(epochs=1)
    params["models"]["sequence"].update(epochs=1)
    params["blend"]["members"] = ["popularity", "ease_text", "two_tower", "sequence"]
    params["evaluation"].update(seeds=1, bootstrap=200)
    params["service"].update(timeout_seconds=40, model_seconds=20)  # machines that are busy
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    for command in (["init", "-q", "--no-scm"], ["add", "-q", "data"], ["repro"]):
        dvc(root, *command)
    return Workspace.open(root)


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
    time = rng.integers(1_600_000_000, 1_630_000_000, 120 * 9).reshape(120, 9)
    histories = replace(Histories.of(rows), timestamp=np.sort(time, axis=1).ravel())
    taste = np.eye(3)[np.arange(60) % 3]
    vectors = np.hstack([taste, 0.3 * rng.normal(size=(60, 13))]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Training(Catalogue(items), np.arange(120), histories, vectors)
