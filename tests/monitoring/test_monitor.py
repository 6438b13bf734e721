"""monitor() on a fabricated workspace."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError, DataError
from bridgerec.monitoring.report import monitor
from bridgerec.monitoring.traffic import read_traffic


@pytest.fixture
def fabricated(small_workspace: Workspace) -> Workspace:
    rng = np.random.default_rng(0)
    small_workspace.prepared.mkdir(parents=True)
    small_workspace.vectors.mkdir()
    pl.DataFrame(
        {
            "domain": ["left"] * 60 + ["right"] * 60,
            "item_id": [f"i{n}" for n in range(120)],
            "category": [f"Kind {n % 4} > Sort {n % 8}" for n in range(120)],
        }
    ).write_parquet(small_workspace.prepared / "items.parquet")
    pl.DataFrame(
        {"user": np.repeat(np.arange(400), 6), "item": rng.integers(0, 120, 2400)}
    ).write_parquet(small_workspace.prepared / "interactions.parquet")
    vectors = np.eye(4)[np.arange(120) % 4].repeat(4, axis=1) + 0.1 * rng.normal(size=(120, 16))
    path = small_workspace.vectors / "vectors.safetensors"
    save_file({"vectors": vectors.astype(np.float32)}, path)
    return small_workspace


def ask(workspace: Workspace, requests: int, choices: list[int], seed: int = 1) -> Path:
    rng = np.random.default_rng(seed)
    lines = []
    for n in range(requests):
        items = rng.choice(choices, 6)
        history = [["left" if i < 60 else "right", f"i{i}"] for i in items]
        line = {"time": 1.7e9 + n, "request_id": str(n), "release": "r", "route": "warm"}
        line |= {"target": "left", "k": 1, "history": history, "items": ["i0"], "scores": [1.0]}
        lines.append(json.dumps(line))
    workspace.traffic.mkdir(exist_ok=True)
    path = workspace.traffic / "requests.1.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_traffic_reports_bad_lines(fabricated: Workspace) -> None:
    path = ask(fabricated, 3, list(range(120)))
    good = path.read_text().splitlines()[0]
    path.write_text(path.read_text() + 'nonsense\n{"time": 1}\n' + good[:40])
    found = read_traffic(fabricated.traffic)
    assert (len(found), found.truncated, found.broken) == (3, 1, 2)


def test_too_few_requests_and_no_log_say_so(fabricated: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no traffic log"):
        monitor(fabricated, tmp_path / "out")
    ask(fabricated, 5, list(range(120)))
    with pytest.raises(DataError, match="min_requests"):
        monitor(fabricated, tmp_path / "out")


def test_missing_artifacts_say_so(small_workspace: Workspace, tmp_path: Path) -> None:
    ask(small_workspace, 100, list(range(60)))
    with pytest.raises(ArtifactError, match="bridgerec run"):
        monitor(small_workspace, tmp_path / "out")


@pytest.mark.slow
def test_monitor_tells_drift_from_none(fabricated: Workspace) -> None:
    out = fabricated.reports / "monitoring"
    ask(fabricated, 200, list(range(120)))
    calm = monitor(fabricated, out)
    assert not calm["drift"], calm
    assert {p.name for p in out.iterdir()} == {"evidently.html", "summary.json", "summary.md"}
    assert (out / "summary.md").read_text().startswith("# No drift")
    assert calm == monitor(fabricated, out)
    ask(fabricated, 200, list(range(0, 120, 4)))  # one category only
    changed = monitor(fabricated, out)
    assert changed["drift"]
    assert changed["vectors"]["drift"]
    assert "category" in changed["drifted_columns"]
    assert "has drifted" in (out / "evidently.html").read_text()
    assert json.loads((out / "summary.json").read_text()) == changed
