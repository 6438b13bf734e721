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


def test_deploy_all_and_cron_runs_are_scheduled(server: dict[str, str]) -> None:
    for arguments in (
        ["work-pool", "create", "bridgerec", "--type", "process"],
        ["--no-prompt", "deploy", "--all"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=REPOSITORY,
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
            == {"training", "monitoring", "release", "retraining"}
        )
        for deployment in found.values():
            described = deployment["parameter_openapi_schema"]["properties"]["workspace"]
            assert described["description"]
            assert described["type"] == "string"
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
