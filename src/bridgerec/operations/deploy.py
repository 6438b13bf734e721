"""The work pool and the deployments of `prefect.yaml`, on the server that runs."""

import hashlib
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path

import httpx
import yaml

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError
from bridgerec.operations.parts import POOL
from bridgerec.pipeline.overrides import choices
from bridgerec.runtime import atomic_file, file_hash

FLOW = '''"""The flow `{name}` of the installed BridgeRec, for prefect.yaml."""

from bridgerec.flows.{module} import {name}

if __name__ == "__main__":
    {name}()
'''


def write_flows(root: Path) -> None:
    """A file per flow that prefect.yaml names.  The flows themselves are the installed ones, so
    that they fit the rest after an upgrade; whoever wants another one changes its file."""
    declared = yaml.safe_load((root / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    for entrypoint in sorted({str(d["entrypoint"]) for d in declared}):
        path, _, name = entrypoint.partition(":")
        with atomic_file(root / path) as temporary:
            text = FLOW.format(name=name, module=Path(path).stem)
            temporary.write_text(text, encoding="utf-8")


def flows_hash(workspace: Workspace) -> str:
    """Changes whenever the deployments, the flows' parameters or a form's choices may have."""
    own, installed = workspace.root / "flows", files("bridgerec") / "flows"
    with as_file(installed) as folder:
        sources = [workspace.root / "prefect.yaml", *sorted(own.glob("*.py"))]
        sources += sorted(folder.glob("*.py"))
        told = [*map(file_hash, sources), repr(choices(workspace.root))]
    return hashlib.sha256("".join(told).encode()).hexdigest()


def deploy(
    workspace: Workspace, api: str, around: dict[str, str], known: str | None
) -> tuple[str, list[str]]:
    """Make the pool and all deployments, unless the server has them as they are; returns the
    flows' hash and the deployments' names.

    A deployment that is made again loses what was switched on or off in the UI, hence "unless".

    Raises:
        BridgeRecError: Prefect refuses; with what it said.
    """
    wanted = flows_hash(workspace)
    declared = yaml.safe_load((workspace.root / "prefect.yaml").read_text())["deployments"]
    names = sorted(str(d["name"]) for d in declared)
    with httpx.Client(base_url=api, timeout=60) as client:
        if client.get(f"/work_pools/{POOL}").status_code == 404:
            _prefect(workspace, around, "work-pool", "create", POOL, "--type", "process")
        found = {d["name"] for d in client.post("/deployments/filter", json={}).json()}
        if known != wanted or not found.issuperset(names):
            _prefect(workspace, around, "--no-prompt", "deploy", "--all")
    return wanted, names


def _prefect(workspace: Workspace, around: dict[str, str], *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *words],
        cwd=workspace.root,
        env=around,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise BridgeRecError(f"`prefect {' '.join(words)}` failed:\n{said}")
