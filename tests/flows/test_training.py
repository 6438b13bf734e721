"""The training flow and `dvc repro` are two doors to the same pipeline."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.runtime import write_json
from helpers import dvc

PROGRESS = """
from bridgerec.progress import track
for _ in track(range(3), "steps"):
    pass
"""
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def lock(root: Path) -> dict[str, object]:
    return yaml.safe_load((root / "dvc.lock").read_text())["stages"]


def artifacts() -> dict[str, Any]:
    """The newest of each key."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return {str(a.key): a for a in sorted(client.read_artifacts(), key=lambda a: a.created)}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_flow_leaves_the_lock_of_dvc_repro(toy: Path, concurrency: int) -> None:
    from bridgerec.flows.training import training

    other = toy.with_name("other")
    shutil.copytree(toy, other)
    training(str(toy), concurrency=concurrency)
    dvc(other, "repro")
    assert lock(toy) == lock(other)
    assert "up to date" in dvc(toy, "status")
    assert "Running stage" not in dvc(toy, "repro")


def test_a_failed_stage_stops_only_what_needs_it(toy: Path) -> None:
    from bridgerec.flows.training import training

    (toy / "data.txt").write_text("poison-two-b.txt\n")
    with pytest.raises(BridgeRecError, match="the poison was found in two-b") as error:
        training(str(toy), concurrency=2)
    assert "Not run, because they need it: three." in str(error.value)
    assert not (toy / "three.txt").exists()
    assert (toy / "two-a.txt").exists()
    assert (toy / "aside.txt").exists()


def test_part_of_the_graph_and_artifacts(toy: Path) -> None:

    from bridgerec.flows.training import training

    (toy / "reports" / "validation").mkdir(parents=True)
    (toy / "reports" / "validation" / "summary.md").write_text("# All is well\n")
    numbers = {"ndcg@10": {"value": 0.1, "low": 0.08, "high": 0.12}}
    results = {"test": {"temporal": {"ease": {"films": {"all": numbers}}}}}
    write_json(toy / "reports" / "evaluation" / "metrics.json", results)
    decision = {"released": True, "winner": "ease", "reasons": ["it is best"]}
    write_json(toy / "reports" / "decision.json", decision)
    training(str(toy), stages=["one"])
    assert set(lock(toy)) == {"one"}
    found = {key: str(a.data) for key, a in artifacts().items()}
    assert "All is well" in found["validation"]
    assert "0.0800 to 0.1200" in found["leaderboard"]
    assert "ease may be released" in found["decision"]
    assert found["progress"] == "100"


def test_overrides_run_as_an_experiment_and_the_form_says_what_there_is(kept_in_git: Path) -> None:

    from bridgerec.flows.training import training

    text = (kept_in_git / "params.yaml").read_text()
    name = training(str(kept_in_git), candidates=["popularity"], targets=["left"], concurrency=2)
    assert name
    assert (kept_in_git / "params.yaml").read_text() == text
    assert not (kept_in_git / "dvc.lock").exists()
    found = {key: str(a.data) for key, a in artifacts().items()}
    assert f"dvc exp apply {name} " in found["experiment"]
    assert "- targets: left" in found["experiment"]
    assert "- candidates: popularity" in found["experiment"]
    assert f"reports/experiments/{name}/evaluation/index.html" in found["reports"]
    dvc(kept_in_git, "exp", "apply", name)
    assert "Running stage" not in dvc(kept_in_git, "repro")
    assert "targets:\n- left\n" in (kept_in_git / "params.yaml").read_text()


def test_an_override_that_is_wrong_stops_before_anything_runs(kept_in_git: Path) -> None:
    from bridgerec.flows.training import training

    with pytest.raises(ConfigError, match="middle"):
        training(str(kept_in_git), targets=["middle"])


def test_how_far_a_stage_is_becomes_a_bar(toy: Path) -> None:

    from bridgerec.flows.training import training

    (toy / "tool.py").write_text((toy / "tool.py").read_text() + PROGRESS)
    training(str(toy), stages=["one"])
    bar = artifacts()["progress-one-steps"]
    assert (bar.data, bar.description, bar.type) == (100.0, "one: steps", "progress")
