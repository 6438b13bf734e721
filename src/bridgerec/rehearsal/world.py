"""The folder of a rehearsal: a trained first year, and the workspace that lives on from it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.rehearsal.plan import Plan
from bridgerec.runtime import BrokenFile, atomic_file, read_json, write_json

TEMPLATES = "bridgerec.templates"
MARK = "rehearsal.json"
FIRST, LIVING = "first", "workspace"
Say = Callable[[str], None]


def claim(folder: Path, plan: Plan) -> None:
    """Make the folder a rehearsal's own; what a rehearsal of another plan left there goes.

    Raises:
        ConfigError: the folder holds something else.
    """
    mark = folder / MARK
    if folder.exists() and any(folder.iterdir()) and not mark.is_file():
        raise ConfigError(
            f"{folder} is not empty and no rehearsal made it. Name a new folder: "
            "`bridgerec rehearse DIR`."
        )
    before = None
    with suppress(BrokenFile, OSError):
        before = read_json(mark)
    wanted = plan.model_dump(mode="json")
    if before != wanted:
        shutil.rmtree(folder / FIRST, ignore_errors=True)
        write_json(mark, wanted)


def make_first(folder: Path, plan: Plan, flows: Path, say: Say) -> Workspace:
    """The first year, simulated and trained by `dvc repro` up to the gate's decision; one that is
    there is taken.

    `flows` is a folder with `prefect.yaml` and `flows/`.

    Raises:
        BridgeRecError: the pipeline stopped; with the end of what it said.
    """
    from bridgerec.data.simulate import simulate

    root = folder / FIRST
    if not (root / "data.dvc").is_file():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        simulate(root, plan.seed, plan.people, plan.items)
        _write_settings(root, plan)
        dvc(root, "init", "-q", "--no-scm")
        dvc(root, "config", "core.analytics", "false")
        (root / ".dvcignore").write_text(
            "/releases/\n/traffic/\n/state/\n/.bridgerec/\n/.prefect/\n"
        )
        dvc(root, "add", "-q", "data")
    _copy_flows(flows, root)
    dvc(root, "repro", "select", say=say)
    return Workspace.open(root)


def _write_settings(root: Path, plan: Plan) -> None:
    import yaml

    template = files(TEMPLATES)
    for name in ("dvc.yaml", "bentofile.yaml"):
        (root / name).write_bytes((template / name).read_bytes())
    with as_file(template / "expectations") as found:
        shutil.copytree(found, root / "expectations")
    params = plan.changed(yaml.safe_load((template / "params.yaml").read_text(encoding="utf-8")))
    with atomic_file(root / "params.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def _copy_flows(flows: Path, root: Path) -> None:
    if not (flows / "prefect.yaml").is_file():
        raise ConfigError(
            f"{flows} has no prefect.yaml, so there are no flows to rehearse. Name a workspace "
            "that has them with -C."
        )
    shutil.copy(flows / "prefect.yaml", root)
    shutil.copytree(flows / "flows", root / "flows", dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip


def branch(source: Path, to: Path) -> Workspace:
    """A copy of a workspace as it stands, without what runs or was released there; in place of an
    older one.  DVC's cache is shared."""
    shutil.rmtree(to, ignore_errors=True)
    own = source / ".dvc" / "cache"
    left = {source: {".bridgerec", ".prefect", "traffic", "state"}, own.parent: {"cache", "tmp"}}

    def ignored(folder: str, _: list[str]) -> set[str]:
        return left.get(Path(folder), set())

    shutil.copytree(source, to, ignore=ignored, symlinks=True)
    dvc(to, "cache", "dir", "--local", str(own.resolve()))
    return Workspace.open(to)


def dvc(root: Path, *arguments: str, say: Say = lambda _: None) -> None:
    """Run this interpreter's DVC; every line of its output goes to `say`.

    Raises:
        BridgeRecError: it failed; with its last lines.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if text := line.rstrip():
                lines.append(text)
                say(text)
        code = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code:
        end = "\n".join(lines[-20:])
        raise BridgeRecError(f"`dvc {' '.join(arguments)}` failed in {root}:\n{end}")
