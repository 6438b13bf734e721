"""Every stage is killed while it computes; what the next run makes is what it always makes."""

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.pipeline.command import dvc as run_dvc
from bridgerec.pipeline.graph import stages
from bridgerec.progress import PROGRESS
from helpers import REPOSITORY, dvc

pytestmark = pytest.mark.slow
# A stage's process, and no other, kills itself when it says or does this.
KILL = """
import os, re, signal, sys

def end(what):
    if re.search(os.environ["KILL_AT"], what):
        os.kill(os.getpid(), signal.SIGKILL)

def say(text, write=sys.stdout.write):
    end(text)
    return write(text)

if "KILL_AT" in os.environ and "stage" in sys.orig_argv:
    sys.stdout.write = say
    sys.addaudithook(lambda event, given: event == "os.rename" and end(f"rename to {given[1]}"))
"""
MOMENTS = {
    "validate": ["interactions and"],  # one table of several is checked
    "prepare": ["split .*: "],  # one split of several is written
    "embed": [r"@progress \d+/\d+ embedding"],
    "train": [r"@progress \d+/\d+ (epochs|iterations)|@progress 1/\d+ \w+: models trained"],
    "blend": [r"@progress 1/\d+ splits blended"],
    "evaluate": [r"@progress 1/\d+ splits judged"],
    "select": ["rename to .*champion$", r"rename to .*decision\.json$"],
    "package": ["rename to .*bento$"],
}


def inputs(undisturbed: Workspace, root: Path) -> Workspace:
    """A workspace with the same data and parameters, in which nothing was computed."""
    made = shutil.ignore_patterns("cache", "tmp", "artifacts", "reports", "dvc.lock")
    return Workspace.open(shutil.copytree(undisturbed.root, root, ignore=made))


def outputs(root: Path, paths: list[str]) -> dict[str, bytes]:
    """The bytes of every file of some stages' outputs."""
    found = [p for path in paths for p in (root / path, *sorted((root / path).rglob("*")))]
    return {str(p.relative_to(root)): p.read_bytes() for p in found if p.is_file()}


def locked(root: Path) -> dict[str, dict[str, object]]:
    path = root / "dvc.lock"
    found = yaml.safe_load(path.read_text())["stages"] if path.is_file() else {}
    return {name: found[name] for name in sorted(found)}


def quiet(line: str) -> None:
    pass


def kill_every_stage(undisturbed: Workspace, copy: Workspace, tools: Path) -> None:
    (tools / "sitecustomize.py").write_text(KILL)
    paths = os.pathsep.join([str(tools), os.environ.get("PYTHONPATH", "")])
    for stage in stages(copy.root):
        outs = [out["path"] for out in locked(undisturbed.root)[stage]["outs"]]  # type: ignore
        for moment in MOMENTS[stage.split("@")[0]]:
            around = {PROGRESS: "1", "KILL_AT": moment, "PYTHONPATH": paths}
            code, said = run_dvc(copy.root, "repro", "-s", stage, say=quiet, around=around)
            assert code != 0
            assert re.search(r"exited with (-9|137)\b", said), said  # 128 + 9: by way of a shell
            assert stage not in locked(copy.root)
            for out in outs:  # whole or absent
                if (copy.root / out).exists():
                    assert outputs(copy.root, [out]) == outputs(undisturbed.root, [out])
        code, said = run_dvc(copy.root, "repro", "-s", stage, say=quiet)
        assert code == 0, said
        assert outputs(copy.root, outs) == outputs(undisturbed.root, outs), stage
    assert locked(copy.root) == locked(undisturbed.root)
    begun = [p for p in copy.root.rglob(".*") if re.fullmatch(r"\.[\w.-]+\.[a-z0-9_]{8}", p.name)]
    assert begun == []


def test_a_stage_killed_while_it_computes_and_run_again_gives_the_same_bytes(
    finished: Workspace, tmp_path: Path
) -> None:
    kill_every_stage(finished, inputs(finished, tmp_path / "killed"), tmp_path)


@pytest.mark.long
def test_so_does_the_training_of_every_candidate(finished: Workspace, tmp_path: Path) -> None:
    undisturbed = inputs(finished, tmp_path / "undisturbed")
    params, every = (
        yaml.safe_load((root / "params.yaml").read_text()) for root in (finished.root, REPOSITORY)
    )
    params["candidates"], params["blend"] = every["candidates"], every["blend"]
    params["models"]["profile"]["epochs"] = 1
    (undisturbed.root / "params.yaml").write_text(yaml.safe_dump(params))
    dvc(undisturbed.root, "repro")
    assert len(stages(undisturbed.root)) == 7 + len(every["candidates"])
    kill_every_stage(undisturbed, inputs(undisturbed, tmp_path / "killed"), tmp_path)
