"""A workspace of tiny stages in a git repository; a plugin, so that several folders share it."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from helpers import dvc, git, small_params

TOOL = """
import pathlib, sys
out, *deps = sys.argv[1:]
text = "".join(pathlib.Path(d).read_text() for d in deps)
print("making", out)
if "poison-" + out in text:
    sys.exit("the poison was found in " + out)
pathlib.Path(out).write_text(text + out + "\\n")
"""


SMALL = """
stages:
  embed:
    cmd: {python} tool.py embedded.txt data/x.txt
    deps: [data]
    params: [embed, targets]
    outs: [embedded.txt]
  train:
    matrix:
      candidate: ${{candidates}}
    cmd: {python} tool.py trained-${{item.candidate}}.txt embedded.txt
    deps: [embedded.txt]
    params: ["models.${{item.candidate}}"]
    outs: ["trained-${{item.candidate}}.txt"]
  judge:
    cmd: {python} judge.py
    params: [candidates, targets]
    deps: [trained-popularity.txt]
    outs: [reports/evaluation]
metrics: [reports/evaluation/summary.json]
"""
JUDGE = """
import json, pathlib, yaml
params = yaml.safe_load(open("params.yaml"))
out = pathlib.Path("reports/evaluation")
out.mkdir(parents=True)
result = {c: {"ndcg@10": len(c) / 100} for c in params["candidates"]}
(out / "index.html").write_text("<h1>the evaluation</h1>")
summary = {"test": {"temporal": {t: result for t in params["targets"]}}}
(out / "summary.json").write_text(json.dumps(summary))
figure = lambda c: {"all": {"ndcg@10": {"value": len(c) / 100, "low": 0.01, "high": 0.2}}}
rows = {c: {t: figure(c) for t in params["targets"]} for c in params["candidates"]}
(out / "metrics.json").write_text(json.dumps({"test": {"temporal": rows}}))
"""


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept") / "repository" / "shop"
    root.mkdir(parents=True)
    git(root.parent, "init", "--quiet")
    git(root, "config", "user.email", "somebody@example.org")
    git(root, "config", "user.name", "Somebody")
    dvc(root, "init", "--subdir", "--quiet")
    models = {
        "popularity": {"use": "bridgerec.models.popularity:Popularity"},
        "item_knn": {"use": "bridgerec.models.item_knn:ItemKNN"},
    }
    params = small_params(
        candidates=list(models),
        models=models,
        targets=["left", "right"],
        embed={"fields": ["title"]},
    )
    text = "# chosen with care\n" + yaml.safe_dump(params)
    (root / "params.yaml").write_text(text)
    (root / "dvc.yaml").write_text(SMALL.format(python=sys.executable))
    (root / "tool.py").write_text(TOOL)
    (root / "judge.py").write_text(JUDGE)
    (root / ".gitignore").write_text("/artifacts/\n/reports/\n/.prefect/\n")
    (root / "data").mkdir()
    (root / "data" / "x.txt").write_text("data\n")
    dvc(root, "add", "--quiet", "data")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "a workspace")
    return root


@pytest.fixture
def kept_in_git(original: Path, tmp_path: Path) -> Path:
    """A workspace of tiny stages in a folder of a git repository, committed."""
    shutil.copytree(original.parent, tmp_path / "repository", symlinks=True)
    return tmp_path / "repository" / "shop"
