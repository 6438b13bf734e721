"""`prefect.yaml` on a real server: all deployments are made, and a cron schedule makes runs."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from bridgerec.cli.init import create
from bridgerec.config import Workspace
from helpers import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a fresh server with a quick scheduler."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment = {
        **clean,
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
    }
    start = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(start, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(240):
            try:
                httpx.get(f"{api}/health").raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, (tmp_path / "server.log").read_text()
                time.sleep(0.5)
        yield environment
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_deploy_all_and_cron_runs_are_scheduled(
    server: dict[str, str], small_workspace: Workspace, tmp_path: Path
) -> None:
    """From a workspace of `bridgerec init`, whose prefect.yaml is the repository's."""
    tables = {
        name: tuple(
            small_workspace.root / "data" / name / f"{t}.csv" for t in ("interactions", "items")
        )
        for name in ("left", "right")
    }
    root = tmp_path / "mine"
    create(root, tables, ())
    assert (root / "prefect.yaml").read_bytes() == (REPOSITORY / "prefect.yaml").read_bytes()
    for arguments in (
        ["work-pool", "create", "bridgerec", "--type", "process"],
        ["--no-prompt", "deploy", "--all"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=root,
            env=server,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    declared = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=30) as api:
        found = {d["name"]: d for d in api.post("/deployments/filter", json={}).json()}
        assert (
            set(found)
            == {d["name"] for d in declared}
            == {"training", "monitoring", "release", "retraining", "backfill"}
        )
        for deployment in found.values():
            described = deployment["parameter_openapi_schema"]["properties"]["workspace"]
            assert described["description"]
            assert described["type"] == "string"
        form = found["training"]["parameter_openapi_schema"]["properties"]
        assert form["targets"]["items"]["enum"] == ["left", "right"]
        assert {"popularity", "two_tower"} < set(form["candidates"]["items"]["enum"])
        assert all(field["description"] for field in form.values())
        assert (form["tune"]["type"], form["force"]["type"]) == ("integer", "boolean")
        refused = api.post(
            f"/deployments/{found['training']['id']}/create_flow_run",
            json={"parameters": {"targets": ["middle"]}},
        )
        assert refused.status_code == 409
        assert "middle" in refused.text
        watch = found["monitoring"]
        place = f"/deployments/{watch['id']}/schedules/{watch['schedules'][0]['id']}"
        assert api.patch(place, json={"active": True}).status_code == 204
        runs: list[dict[str, object]] = []
        limit = time.monotonic() + 60
        while not runs and time.monotonic() < limit:
            time.sleep(1)
            runs = api.post("/flow_runs/filter", json={}).json()
    assert runs, "a cron schedule made no runs (SQLAlchemy 2.1 breaks Prefect's scheduler)"
    assert all(run["auto_scheduled"] for run in runs)
