"""The closed loop, played to its end with real servers: the facts of its story."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slow


def mine(folder: Path) -> list[str]:
    """Processes whose command line names the folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(folder) in line and process.pid != psutil.Process().pid:
            found.append(line)
    return found


def test_drift_retraining_swap_and_refusal(tmp_path: Path) -> None:
    folder = tmp_path / "play"
    done = subprocess.run(
        [sys.executable, "-m", "bridgerec.cli", "rehearse", str(folder)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    story: dict[str, Any] = json.loads((folder / "story.json").read_text(encoding="utf-8"))
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

    refusal = story["refusal"]
    assert refusal["refused"]
    assert any(reason.startswith("refused") for reason in refusal["reasons"])
    assert refusal["live_before"] == refusal["live_after"] == live
    assert set(story["refusal_load"]["by_release"]) == {live}

    assert story["gain"]["ndcg"]["low"] > 0
    days = story["days"]
    assert all(d["maintained"] == d["frozen"] for d in days[: after["day"] + 1])
    assert all(d["maintained"] != d["frozen"] for d in days[after["day"] + 1 :])
    assert story["failed"] is None
    assert "<svg" in (folder / "story.html").read_text(encoding="utf-8")
    assert mine(folder) == []
