"""Everything up and down, with the real Prefect server, worker, service and Evidently."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bridgerec.config import Workspace
from bridgerec.errors import ConfigError
from bridgerec.operations.control import down, status, up
from bridgerec.operations.state import Running, read_state
from bridgerec.runtime import write_json
from helpers import REPOSITORY

pytestmark = pytest.mark.slow
FLOWS = ("backfill", "monitoring", "release", "retraining", "training")
ANY = {"prefect": 0, "service": 0, "evidently": 0, "reports": 0}


@pytest.fixture
def copy(finished: Workspace, tmp_path: Path) -> Workspace:
    """A finished workspace with flows."""
    ignored = shutil.ignore_patterns("cache", "tmp")
    root = shutil.copytree(finished.root, tmp_path / "copy", ignore=ignored)
    shutil.copy(REPOSITORY / "prefect.yaml", root)
    shutil.copytree(REPOSITORY / "flows", root / "flows")
    return Workspace.open(root)


def rows(workspace: Workspace) -> dict[str, dict[str, Any]]:
    return {row["part"]: row for row in status(workspace)["parts"]}


def processes(parts: dict[str, Running]) -> list[psutil.Process]:
    """All processes of all parts, children included."""
    leaders = [part.process for part in parts.values()]
    return [p for leader in leaders if leader for p in (leader, *leader.children(recursive=True))]


def test_up_status_a_killed_service_up_again_down(copy: Workspace) -> None:
    lines: list[str] = []
    try:
        state = up(copy, ANY, lines.append)
        assert set(state.parts) == {"prefect", "worker", "service", "evidently", "reports"}
        assert f"deployments: {', '.join(FLOWS)}" in lines
        api = f"{state.parts['prefect'].url}/api"
        pages = httpx.get(f"{state.parts['prefect'].url}/ui-settings", timeout=30).json()
        assert pages["api_url"] == api
        found = httpx.post(f"{api}/deployments/filter", json={}, timeout=30).json()
        assert {d["name"] for d in found} == set(FLOWS)
        workers = httpx.post(f"{api}/work_pools/bridgerec/workers/filter", json={}, timeout=30)
        assert [w["status"] for w in workers.json()] == ["ONLINE"]
        service = state.parts["service"]
        question = {"target": "films", "k": 3}
        answer = httpx.post(f"{service.url}/recommend", json=question, timeout=60)
        assert len(answer.json()["items"]) == 3
        assert {row["state"] for row in rows(copy).values()} == {"running"}

        os.kill(service.pid, signal.SIGKILL)
        os.waitpid(service.pid, 0)  # nobody else is its parent here
        assert rows(copy)["service"]["state"] == "gone"
        again = up(copy, {**ANY, "service": service.port or 0}, lines.append)
        assert again.parts["prefect"] == state.parts["prefect"]
        assert again.parts["service"].pid != service.pid
        assert again.parts["service"].port == service.port
        assert "Prefect: runs already" in lines
        all_of_them = processes(again.parts)
        assert len(all_of_them) > 4
    finally:
        down(copy, lines.append)
    _, left = psutil.wait_procs(all_of_them, timeout=10)
    assert left == []
    assert read_state(copy).parts == {}
    assert status(copy)["parts"] == []


def test_what_cannot_run_here_is_left_out_and_a_port_in_use_stops_before_anything_starts(
    small_workspace: Workspace,
) -> None:
    lines: list[str] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ConfigError, match=r"--evidently-port"):
            up(small_workspace, {**ANY, "evidently": taken}, lines.append)
    assert read_state(small_workspace).parts == {}
    assert "has no prefect.yaml" in lines[0]
    assert "nothing is packaged yet" in lines[1]


def test_a_part_that_fails_takes_the_others_of_this_start_with_it(
    small_workspace: Workspace,
) -> None:
    (small_workspace.root / "prefect.yaml").write_text("deployments: [{name: x, entrypoint: y}]\n")
    lines: list[str] = []
    with pytest.raises(Exception, match="deploy --all"):
        up(small_workspace, ANY, lines.append)
    assert "Prefect: stopped" in lines
    assert read_state(small_workspace).parts == {}


def test_the_commands_tell_what_monitoring_said(small_workspace: Workspace) -> None:
    folder = small_workspace.reports / "monitoring"
    write_json(folder / "summary.json", {"drift": True})
    (folder / "summary.md").write_text("# What people ask with has drifted\n\n- more\n")
    run = [sys.executable, "-m", "bridgerec.cli"]
    where = ["-C", str(small_workspace.root)]
    said = subprocess.run([*run, "status", *where], capture_output=True, text=True, check=True)
    assert "Nothing runs" in said.stdout
    assert "Nothing is released; 0 kept." in said.stdout
    assert "What people ask with has drifted" in said.stdout
    said = subprocess.run([*run, "down", *where], capture_output=True, text=True, check=True)
    assert "nothing runs" in said.stdout
