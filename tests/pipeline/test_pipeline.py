"""The whole pipeline: its outputs, its repeat, and its other door."""

import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from bridgerec.cli.demo import recommendations
from bridgerec.config import Workspace
from bridgerec.runtime import read_json
from helpers import dvc

pytestmark = pytest.mark.slow


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


def test_demo_recommends_for_three_people_by_titles(
    finished: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    recommendations(finished)
    said = capsys.readouterr().out
    for title in ("a warm person", "a cold-start person", "an unknown person"):
        assert f"films for {title}" in said
    assert "route: cold_start" in said
    assert "route: unknown" in said
    catalogue = pl.read_parquet(finished.prepared / "items.parquet")
    titles = set(catalogue.filter(pl.col("domain") == "films")["title"].to_list())
    rows = [line.split("│")[2].strip() for line in said.splitlines() if line.startswith("│")]
    assert len(rows) >= 15
    assert sum(row in titles for row in rows) >= 10  # the others go on in a second line


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
