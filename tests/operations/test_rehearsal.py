"""The closed loop, played to its end with real servers: the facts of its story.

One folder serves all tests here, so that the first year is trained once.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import psutil
import pytest

from bridgerec.config import Workspace
from bridgerec.operations.control import down, up
from bridgerec.rehearsal.faults import OF_A_RUN, Victim
from bridgerec.rehearsal.orders import Orders
from bridgerec.runtime import read_json

pytestmark = pytest.mark.long
ANY = {"prefect": 0, "service": 0, "evidently": 0, "reports": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rehearsal") / "play"


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "bridgerec.cli", "rehearse", str(folder), *more]


def mine(folder: Path) -> list[str]:
    """Processes whose command line names the folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(folder) in line and process.pid != psutil.Process().pid:
            found.append(line)
    return found


def played(folder: Path, *more: str) -> dict[str, Any]:
    """The story of a rehearsal that came to its end and left nothing running."""
    done = subprocess.run(command(folder, *more), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    story: dict[str, Any] = json.loads((folder / "story.json").read_text(encoding="utf-8"))
    assert story["failed"] is None
    assert "<svg" in (folder / "story.html").read_text(encoding="utf-8")
    assert mine(folder) == []
    return story


def test_an_interrupted_rehearsal_leaves_nothing_and_begins_again(folder: Path) -> None:
    log = folder.parent / "log"

    def stopped_by(number: signal.Signals) -> int:
        """Start it, and send it a signal as soon as people come; its exit code."""
        with log.open("w") as output:
            process = subprocess.Popen(command(folder), stdout=output, stderr=output)
        try:
            while "The service starts" not in log.read_text():
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            process.send_signal(number)
            return process.wait(120)
        finally:
            process.kill()

    assert stopped_by(signal.SIGKILL) == -signal.SIGKILL
    assert mine(folder)  # servers, which the next one stops
    year = (folder / "first" / "dvc.lock").stat().st_mtime_ns
    assert stopped_by(signal.SIGINT) == 130
    assert "The same command begins again" in log.read_text()
    assert mine(folder) == []
    assert (folder / "first" / "dvc.lock").stat().st_mtime_ns == year
    assert read_json(folder / "story.json")["failed"] == "KeyboardInterrupt"


def test_drift_retraining_swap_and_refusal(folder: Path) -> None:
    story = played(folder)
    shift_day = story["plan"]["calm_days"]
    before, after = story["watches"]
    assert not before["drift"], before
    assert before["day"] < shift_day <= after["day"]
    assert after["drift"]
    assert after["alarms"]

    assert story["retraining"]["by_event"] == 1
    first, live = story["releases"]["first"], story["releases"]["live"]
    assert first != live
    assert set(story["swap"]["by_release"]) == {first, live}
    for load in ("requests", "swap", "refusal_load"):
        assert story[load]["requests"] > 20
        assert story[load]["failures"] == 0, story[load]["first_failures"]
        assert set(story[load]["by_status"]) == {"200"}
    assert story["accepted"] > 1000
    assert story["lost"] == 0

    refusal = story["refusal"]
    assert refusal["refused"]
    assert any(reason.startswith("refused") for reason in refusal["reasons"])
    assert refusal["live_before"] == refusal["live_after"] == live
    assert set(story["refusal_load"]["by_release"]) == {live}

    assert story["gain"]["ndcg"]["low"] > 0
    days = story["days"]
    assert all(d["maintained"] == d["frozen"] for d in days[: after["day"] + 1])
    assert all(d["maintained"] != d["frozen"] for d in days[after["day"] + 1 :])


def test_each_part_killed_at_a_random_moment_of_a_rehearsal(folder: Path) -> None:
    story = played(folder, "--faults", "1")
    kills = story["kills"]
    assert sorted(kill["victim"] for kill in kills) == sorted(get_args(Victim))
    assert all(kill["away"] is not None for kill in kills), kills
    assert len(story["again"]) == len([k for k in kills if k["victim"] in OF_A_RUN])

    assert story["accepted"] > 1000
    assert story["lost"] == 0
    assert story["stray"] == 0
    for kill in kills:  # the service goes on without Prefect
        assert kill["failed"] == 0 or kill["victim"] in ("service", "service process"), kill
    for load in ("requests", "swap", "refusal_load"):
        assert story[load]["given_up"] == 0, story[load]["first_failures"]

    # all that an undisturbed one gives
    first, live = story["releases"]["first"], story["releases"]["live"]
    assert first != live
    assert story["retraining"]["by_event"] == 1
    assert story["refusal"]["refused"]
    assert story["refusal"]["live_after"] == live
    assert story["gain"]["ndcg"]["low"] > 0


def test_a_backfill_through_the_worker(folder: Path) -> None:
    if not (folder / "workspace").is_dir():
        played(folder)
    place = Workspace.open(folder / "workspace")
    try:
        orders = Orders(up(place, ANY).parts["prefect"].url)
        run = orders.wait(orders.start("backfill", {"k": 7}), 600)
    finally:
        down(place)
    manifest = read_json(place.root / "artifacts" / "backfill" / "manifest.json")
    assert run.state == "COMPLETED"
    assert manifest["k"] == 7
    assert manifest["release"] == read_json(folder / "story.json")["releases"]["live"]
