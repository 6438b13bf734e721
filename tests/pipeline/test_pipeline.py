"""The whole pipeline: its outputs, its repeat, and what a kill leaves behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.runtime import file_hash, read_json
from helpers import dvc

pytestmark = pytest.mark.slow
OUTPUTS = {
    "validate": "reports/validation",
    "prepare": "artifacts/prepared",
    "embed": "artifacts/vectors",
    "train popularity": "artifacts/candidates/popularity",
    "train ease_text": "artifacts/candidates/ease_text",
    "train two_tower": "artifacts/candidates/two_tower",
    "blend": "artifacts/blend",
    "evaluate": "reports/evaluation",
    "select": "artifacts/champion",
    "package": "artifacts/bento",
}


@pytest.fixture
def copy(finished: Workspace, tmp_path: Path) -> Workspace:
    ignored = shutil.ignore_patterns("cache", "tmp")
    return Workspace.open(shutil.copytree(finished.root, tmp_path / "copy", ignore=ignored))


def test_the_decision_and_every_number_are_there(finished: Workspace) -> None:
    params = finished.params
    decision = read_json(finished.reports / "decision.json")
    assert decision["winner"] in params.competitors
    assert decision["winner"] != params.gate.baseline
    metrics = read_json(finished.reports / "evaluation" / "metrics.json")
    for part in ("validation", "test"):
        for split in ("temporal", "cold_start-films-50"):
            for candidate in params.competitors:
                cells = metrics[part][split][candidate]["films"]["all"]
                for name in ("precision", "recall", "f1", "ndcg", "hr", "mrr", "map"):
                    for k in params.evaluation.ks:
                        cell = cells[f"{name}@{k}"]
                        assert 0 <= cell["low"] <= cell["value"] <= cell["high"] <= 1
    test = metrics["test"]["temporal"]
    best, baseline = (
        test[c]["films"]["all"]["ndcg@10"] for c in (decision["winner"], "popularity")
    )
    assert best["value"] > baseline["value"]
    page = (finished.reports / "evaluation" / "index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script src" not in page


def test_the_dossier_ties_the_release_to_its_inputs(finished: Workspace) -> None:
    dossier = read_json(finished.bento / "src" / "bundle" / "dossier.json")
    data = yaml.safe_load((finished.root / "data.dvc").read_text())
    assert dossier["data_hash"] == data["outs"][0]["md5"]
    splits = read_json(finished.prepared / "splits.json")
    assert dossier["split_hashes"] == {name: info["hash"] for name, info in splits.items()}
    assert len(dossier["dvc_lock_hash"]) == 64
    assert dossier["params"]["seed"] == finished.params.seed
    assert {"torch", "bentoml", "bridgerec", "python"} <= dossier["versions"].keys()
    routes = dossier["champion"]["routes"]
    assert dossier["test_metrics"].keys() == set(routes.values())
    assert dossier["test_metrics"][routes["warm"]]["temporal"]["films"]["ndcg@10"]["low"] >= 0


def test_a_second_run_does_nothing(finished: Workspace) -> None:
    assert "up to date" in dvc(finished.root, "status")
    assert "Running stage" not in dvc(finished.root, "repro")


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_killed_stage_run_again_gives_the_same_bytes(
    finished: Workspace, copy: Workspace, stage: str
) -> None:
    out = copy.root / OUTPUTS[stage]
    shutil.rmtree(out)  # as DVC does before a stage
    command = [sys.executable, "-m", "bridgerec.cli", "stage", *stage.split(), "-C", str(copy.root)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while time.monotonic() < limit and process.poll() is None:
        if out.exists() or list(out.parent.glob(f".{out.name}.*")):
            break  # it has begun to write
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(command, check=True, capture_output=True)
    assert file_hash(out) == file_hash(finished.root / OUTPUTS[stage])
    assert not list(out.parent.glob(f".{out.name}.*"))


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_leaves_the_lock_of_dvc_repro(finished: Workspace, copy: Workspace) -> None:
    from flows.training import training

    (copy.root / "dvc.lock").unlink()
    for folder in (copy.root / "artifacts", copy.reports):
        shutil.rmtree(folder)
    training(str(copy.root), concurrency=2)
    one, two = (
        yaml.safe_load((place.root / "dvc.lock").read_text())["stages"]
        for place in (finished, copy)
    )
    assert one == two
    assert "package" not in dvc(copy.root, "status")  # (the copy has no cache of data)
