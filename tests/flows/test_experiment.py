"""A run with other parameters leaves the workspace alone, and can be compared and repeated."""

import fcntl
import json
import shutil
from pathlib import Path

import pytest
import yaml

from bridgerec.config import load_params
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.pipeline import graph
from bridgerec.pipeline.command import dvc as call
from bridgerec.pipeline.experiment import ROOMS, check, data_of, experiment
from bridgerec.pipeline.overrides import Overrides
from helpers import git, small_params

LEFT = Overrides(targets=("left",))


def dvc(root: Path, *words: str) -> str:
    lines: list[str] = []
    code, said = call(root, *words, say=lines.append)
    assert code == 0, said
    return "\n".join(lines)


def files(root: Path) -> dict[str, bytes]:
    """All that is in the workspace, but for what DVC and git note for themselves."""
    found = [p for p in root.rglob("*") if p.is_file() and ".dvc" not in p.relative_to(root).parts]
    return {str(p.relative_to(root)): p.read_bytes() for p in found}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Two domains, three models, a blend of two, comments."""
    kinds = ("popularity", "ease", "ials")
    models = {k: {"use": f"bridgerec.models.{k}:{k.title()}"} for k in kinds}
    params = small_params(candidates=list(kinds), models=models, targets=["left", "right"])
    params["blend"] = {"members": ["ease", "ials"]}
    params["embed"] = {"text": {"model": "one/encoder", "sha256": "0" * 64, "max_length": 7}}
    (tmp_path / "params.yaml").write_text("# kept\n" + yaml.safe_dump(params))
    return tmp_path


def test_overrides_change_what_they_name_and_what_has_to_follow(written: Path) -> None:
    before = load_params(written / "params.yaml")
    Overrides(("left",), ("ease",), "other/encoder", "", 5).write(written)
    found = load_params(written / "params.yaml")
    assert (written / "params.yaml").read_text().startswith("# kept\n")
    assert found.targets == ("left",)
    assert found.candidates == ("popularity", "ease")  # the baseline stays
    assert found.blend is not None
    assert found.blend.members == ("ease",)
    assert (found.embed.text.model, found.embed.text.sha256) == ("other/encoder", None)
    assert found.embed.text.max_length == 7
    assert found.tune.trials == 5
    assert (found.models, found.data, found.seed) == (before.models, before.data, before.seed)
    assert not Overrides()
    assert Overrides(trials=3).words == ["tuned, trials per candidate: 3"]
    with pytest.raises(ConfigError, match=r"candidates: \['eese'\].*'ease', 'ials', 'popularity'"):
        Overrides(candidates=("eese",)).check(written)


@pytest.mark.slow
def test_it_is_compared_applied_and_then_nothing_is_left_to_do(kept_in_git: Path) -> None:
    root = kept_in_git
    dvc(root, "repro", "--quiet")
    (root / "params.yaml").write_text((root / "params.yaml").read_text() + "# not committed\n")
    before = files(root)
    check(root, LEFT)
    with experiment(root, "mauve otter!", LEFT) as found:
        assert found.name == "mauve-otter"
        found.take_data()
        said: list[str] = []
        for stage in graph.stages(found.root):
            graph.reproduce(found.root, stage, said.append)
        assert "Stage 'embed' didn't change" not in "".join(said)
        found.save()
        place = found.root
    assert not place.exists()
    assert list((root / ROOMS).iterdir()) == []
    assert files(root) == before

    [_, commit] = json.loads(dvc(root, "exp", "show", "--json"))
    [shown] = commit["experiments"]
    assert shown["name"] == "mauve-otter"
    [revision] = shown["revs"]
    assert revision["data"]["params"]["params.yaml"]["data"]["targets"] == ["left"]
    metrics = revision["data"]["metrics"]["reports/evaluation/summary.json"]["data"]
    assert list(metrics["test"]["temporal"]) == ["left"]
    dvc(root, "exp", "apply", "mauve-otter")
    assert load_params(root / "params.yaml").targets == ("left",)
    assert (root / "params.yaml").read_text().endswith("# not committed\n")
    assert "Running stage" not in dvc(root, "repro")
    assert list(json.loads((root / "reports/evaluation/summary.json").read_text())["test"]) == [
        "temporal"
    ]
    with experiment(root, "mauve-otter", LEFT) as another:
        assert another.name == "mauve-otter-2"


@pytest.mark.slow
def test_what_a_failed_run_finished_is_not_computed_again(kept_in_git: Path) -> None:
    root = kept_in_git
    left = Overrides(targets=("left",))
    (root / "judge.py").write_text("raise SystemExit('the judge is ill')\n")
    git(root, "commit", "-aqm", "an ill judge")
    with experiment(root, "one", left) as found:
        found.take_data()
        *others, last = graph.stages(found.root)
        for stage in others:
            graph.reproduce(found.root, stage)
        with pytest.raises(BridgeRecError, match="the judge is ill"):
            graph.reproduce(found.root, last)
    assert last == "judge"
    (root / "judge.py").write_text(
        "import pathlib; pathlib.Path('reports/evaluation').mkdir(parents=True)\n"
    )
    said: list[str] = []
    with experiment(root, "two", left) as found:
        found.take_data()
        for stage in graph.stages(found.root):
            graph.reproduce(found.root, stage, said.append)
    ran = [line.split("'")[1] for line in said if line.startswith("Running stage")]
    assert ran == ["judge"]


@pytest.mark.slow
def test_the_data_of_a_tag(kept_in_git: Path, tmp_path: Path) -> None:
    root = kept_in_git
    git(root, "tag", "first")
    dvc(root, "remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    dvc(root, "push", "--quiet")
    (root / "data" / "x.txt").write_text("newer\n")
    with pytest.raises(ConfigError, match="`dvc add data`"):
        check(root, LEFT)
    dvc(root, "add", "--quiet", "data")
    git(root, "commit", "-aqm", "newer data")
    first = Overrides(data="first")
    check(root, first)
    with pytest.raises(ConfigError, match="no such git revision"):
        check(root, Overrides(data="second"))
    with experiment(root, "old", first) as found:
        found.take_data()
        assert (found.root / "data" / "x.txt").read_text() == "data\n"
        assert (root / "data" / "x.txt").read_text() == "newer\n"
    assert data_of(root, "HEAD") != data_of(root, "first")

    # the old files are no longer here, but where they were pushed to
    shutil.rmtree(root / ".dvc" / "cache")
    with experiment(root, "old", first) as found:
        found.take_data()
        assert (found.root / "data" / "x.txt").read_text() == "data\n"
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(tmp_path / "store")
    with experiment(root, "old", first) as found, pytest.raises(graph.Unreachable, match="store"):
        found.take_data()
    dvc(root, "remote", "remove", "--quiet", "store")
    with experiment(root, "old", first) as found, pytest.raises(ConfigError, match="no default"):
        found.take_data()


def test_refused_with_the_remedy(kept_in_git: Path, toy: Path) -> None:
    (toy / "params.yaml").write_text((kept_in_git / "params.yaml").read_text())
    with pytest.raises(ConfigError, match="in no git repository"):
        check(toy, LEFT)
    git(kept_in_git, "rm", "-q", "--cached", "data.dvc")
    with pytest.raises(ConfigError, match=r"git does not know data\.dvc yet"):
        check(kept_in_git, LEFT)
    call(kept_in_git, "config", "core.no_scm", "true")
    with pytest.raises(ConfigError, match=r"dvc config --unset core\.no_scm"):
        check(kept_in_git, LEFT)


def test_copies_of_killed_runs_go_and_those_at_work_stay(kept_in_git: Path) -> None:
    rooms = kept_in_git / ROOMS
    for name in ("killed", "working"):
        (rooms / name / "shop").mkdir(parents=True)
        (rooms / f"{name}.lock").touch()
    with (rooms / "working.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with experiment(kept_in_git, "working", LEFT) as found:
            assert found.name == "working-2"
            assert not (rooms / "killed").exists()
    assert {p.name for p in rooms.iterdir()} == {"working", "working.lock"}
