"""Retraining: what starts it, what comes of it, and what it says."""

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError
from bridgerec.operations.control import down, up
from bridgerec.registry.current import read_current
from bridgerec.registry.store import Store
from bridgerec.runtime import read_json, write_json
from bridgerec.serving.state import Event
from helpers import REPOSITORY, accept, dvc, small_world
from releases_world import kept

pytestmark = pytest.mark.slow
REFUSING = """#!{python}
# stands where `bridgerec stage select` stands, and refuses as that does
import json, pathlib, sys
rows = sum(len(p.read_text().splitlines()) - 1 for p in pathlib.Path("data").rglob("inter*.csv"))
pathlib.Path("reports").mkdir(exist_ok=True)
reason = f"refused: too weak on {{rows}} rows"
decision = {{"released": False, "winner": None, "routes": {{}}, "reasons": [reason]}}
pathlib.Path("reports/decision.json").write_text(json.dumps(decision))
sys.exit(5)
"""


def last_page() -> str:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return {a.key: str(a.data) for a in client.read_latest_artifacts()}["retraining"]


@pytest.mark.usefixtures("prefect_server")
def test_a_refused_candidate_is_a_good_end_and_a_failed_stage_is_none(toy: Path) -> None:
    from bridgerec.flows.retraining import retraining

    refusing = {"released": False, "winner": None, "reasons": ["refused: too weak"]}
    write_json(toy / "reports" / "decision.json", refusing)
    release = kept(toy, "a1", 1)
    from bridgerec.registry.current import promote

    promote(Store(toy / "releases"), release)
    found = retraining(str(toy), intake=False, reason="a test")
    assert found["outcome"] == "kept"
    assert found["words"].startswith("kept the champion a1 because the gate refuses")
    assert (found["before"], found["live"], found["release"]) == ("a1", "a1", None)
    assert (toy / "three.txt").exists()
    page = last_page()
    assert page.startswith("# kept the champion a1")
    assert "refused: too weak" in page
    assert "started by: a test" in page

    (toy / "data.txt").write_text("poison-three.txt\n")
    with pytest.raises(BridgeRecError, match="the poison was found in three"):
        retraining(str(toy), intake=False)
    assert last_page().startswith("# failed: stage three failed")


@pytest.mark.usefixtures("prefect_server")
def test_a_passing_candidate_becomes_the_champion_once(finished: Workspace, tmp_path: Path) -> None:
    from bridgerec.flows.retraining import retraining

    copy = Workspace.open(shutil.copytree(finished.root, tmp_path / "copy"))
    found = retraining(str(copy.root), reason="the first")
    assert found["outcome"] == "promoted"
    assert found["taken"]["before"] == found["taken"]["after"]
    assert found["release"] == found["live"] == read_current(Store.of(copy)).release
    assert f"{found['release']} is live" in last_page()
    again = retraining(str(copy.root), intake=False)
    assert (again["outcome"], again["before"]) == ("unchanged", found["live"])


@pytest.fixture
def weak(tmp_path: Path) -> Workspace:
    """A workspace with a service's events and flows, and a pipeline that always refuses."""
    root = tmp_path / "weak"
    root.mkdir()
    workspace = small_world(root)
    shutil.copytree(REPOSITORY / "expectations", root / "expectations")
    shutil.copytree(REPOSITORY / "flows", root / "flows")
    shutil.copy(REPOSITORY / "prefect.yaml", root)
    (root / "bridgerec").write_text(REFUSING.format(python=sys.executable))
    (root / "bridgerec").chmod(0o755)
    (root / "dvc.yaml").write_text(
        "stages:\n  select:\n    cmd: ./bridgerec stage select\n    deps: [data]\n"
        "    outs: [reports/decision.json]\n"
    )
    dvc(root, "init", "-q", "--no-scm")
    dvc(root, "add", "-q", "data")
    accept(workspace, [Event("e1", "u03", "left", "l03", 1_650_000_000)])
    return workspace


def test_three_drift_events_start_one_run_which_takes_in_and_tells(
    weak: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridgerec.operations.parts.has_evidently", lambda: False)
    lines: list[str] = []
    try:
        state = up(weak, {"prefect": 0, "service": 0, "evidently": 0}, lines.append)
        with httpx.Client(base_url=f"{state.parts['prefect'].url}/api", timeout=60) as api:
            for number in range(3):
                event = drift(weak, f"books moved ({number})")
                assert api.post("/events", json=[event]).status_code == 204
                time.sleep(1)
            run = ended(api)
            time.sleep(5)
            assert len(runs(api)) == 1
            assert run["state"]["type"] == "COMPLETED", run
            assert run["parameters"] == {
                "workspace": str(weak.root),
                "intake": True,
                "force": False,
                "reason": "drift: books moved (0)",
            }
            artifacts = api.post("/artifacts/latest/filter", json={}).json()
            page = {a["key"]: a["data"] for a in artifacts}["retraining"]
    finally:
        down(weak, lines.append)
    rows = 300 + 1 + 300
    assert page.startswith("# nothing is live because the gate refuses")
    assert f"refused: too weak on {rows} rows" in page
    assert "started by: drift: books moved (0)" in page
    assert "taken in: 1 events (left 1)" in page
    assert len(read_json(weak.reports / "intake" / "history.json")) == 1


def drift(workspace: Workspace, words: str) -> dict[str, Any]:
    """The monitoring flow's event."""
    from prefect.events import Event as PrefectEvent

    event = PrefectEvent(
        event="bridgerec.drift",
        resource={
            "prefect.resource.id": f"bridgerec.workspace.{workspace.root.name}",
            "prefect.resource.name": str(workspace.root),
        },
        payload={"workspace": str(workspace.root), "words": words},
    )
    return event.model_dump(mode="json")


def runs(api: httpx.Client) -> list[dict[str, Any]]:
    """Runs of the flow `retraining`."""
    wanted = {"flows": {"name": {"any_": ["retraining"]}}}
    return list(api.post("/flow_runs/filter", json=wanted).json())


def ended(api: httpx.Client) -> dict[str, Any]:
    limit = time.monotonic() + 240
    while time.monotonic() < limit:
        for run in runs(api):
            if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return run
        time.sleep(1)
    raise AssertionError(f"no run ended: {runs(api)}")
