"""The training flow and `dvc repro` are two doors to the same pipeline."""

import shutil
from pathlib import Path

import pytest
import yaml

from bridgerec.errors import BridgeRecError
from bridgerec.runtime import write_json
from helpers import dvc

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def lock(root: Path) -> dict[str, object]:
    return yaml.safe_load((root / "dvc.lock").read_text())["stages"]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_flow_leaves_the_lock_of_dvc_repro(toy: Path, concurrency: int) -> None:
    from flows.training import training

    other = toy.with_name("other")
    shutil.copytree(toy, other)
    training(str(toy), concurrency=concurrency)
    dvc(other, "repro")
    assert lock(toy) == lock(other)
    assert "up to date" in dvc(toy, "status")
    assert "Running stage" not in dvc(toy, "repro")


def test_a_failed_stage_stops_only_what_needs_it(toy: Path) -> None:
    from flows.training import training

    (toy / "data.txt").write_text("poison-two-b.txt\n")
    with pytest.raises(BridgeRecError, match="the poison was found in two-b") as error:
        training(str(toy), concurrency=2)
    assert "Not run, because they need it: three." in str(error.value)
    assert not (toy / "three.txt").exists()
    assert (toy / "two-a.txt").exists()
    assert (toy / "aside.txt").exists()


def test_part_of_the_graph_and_artifacts(toy: Path) -> None:
    from flows.training import training
    from prefect.client.orchestration import get_client

    (toy / "reports" / "validation").mkdir(parents=True)
    (toy / "reports" / "validation" / "summary.md").write_text("# All is well\n")
    results = {"test": {"temporal": {"films": {"ease": {"ndcg@10": 0.1}}}}}
    write_json(toy / "reports" / "evaluation" / "summary.json", results)
    decision = {"released": True, "winner": "ease", "reasons": ["it is best"]}
    write_json(toy / "reports" / "decision.json", decision)
    training(str(toy), stages=["one"])
    assert set(lock(toy)) == {"one"}
    with get_client(sync_client=True) as client:
        found = {a.key: str(a.data) for a in client.read_artifacts()}
    assert "All is well" in found["validation"]
    assert "0.1" in found["leaderboard"]
    assert "ease may be released" in found["decision"]
