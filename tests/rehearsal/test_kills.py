"""A plan of kills, its execution on small processes, and what is counted."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import httpx
import pytest

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError
from bridgerec.operations.processes import find_port, start, stop
from bridgerec.operations.state import State, read_state, write_state
from bridgerec.rehearsal import killer as module
from bridgerec.rehearsal.faults import DAYS, OF_A_RUN, RUNS, Fault, Victim, draw
from bridgerec.rehearsal.killer import Killer
from bridgerec.rehearsal.losses import blame, lost
from bridgerec.rehearsal.story import Kill
from bridgerec.rehearsal.tally import Tally
from bridgerec.serving.state import Event, open_store
from helpers import small_world

SERVICE = """
import http.server, subprocess, sys, threading
def work():
    for _ in range({lives}):
        code = "import time; time.sleep(600)"
        subprocess.run([sys.executable, "-c", code, "_bentoml_impl.worker.service"])
threading.Thread(target=work, daemon=True).start()
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", {port}), Ready).serve_forever()
"""
WORKER = """
import subprocess, sys, time
for stage in ("prepare", "train", "train", "evaluate"):
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)", "stage", stage, "x"])
time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    found = Workspace.open(tmp_path)
    write_state(found, State())
    yield found
    for part in read_state(found).parts.values():
        stop(part)


def begin(place: Workspace, name: str, code: str, port: int) -> None:
    state = read_state(place)
    command, log = [sys.executable, "-c", code], place.root / f"{name}.log"
    url = f"http://127.0.0.1:{port}"
    state.parts[name] = start(command, dict(os.environ), place.root, log, port, url)
    write_state(place, state)


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_plan_kills_one_of_each_and_is_the_seeds() -> None:
    for seed in range(50):
        plan = draw(seed)
        assert plan == draw(seed)
        assert sorted(fault.victim for fault in plan) == sorted(get_args(Victim))
        assert all(fault.act in RUNS for fault in plan if fault.victim in OF_A_RUN)
        assert all(fault.act in (*RUNS, *DAYS) for fault in plan)
    assert len({draw(seed) for seed in range(50)}) == 50
    late = Fault(victim="stage", act="A bad candidate", moment=0.75)
    assert (late.stage, late.delay) == (1, 0.5)


def test_a_process_of_the_service_is_killed_at_its_moment_and_waited_for(place: Workspace) -> None:
    port = find_port(0, "")
    begin(place, "service", SERVICE.format(lives=2, port=port), port)
    fault = Fault(victim="service process", act=DAYS[0], moment=0.5)
    killer = Killer(place, (fault,), time.monotonic(), lambda _: None)
    with killer.during(DAYS[1]):
        killer.share = 0.9  # another act's
    with killer.during(DAYS[0]):
        until(lambda: killer._find("service process") is not None)
        killer.share = 0.4
        time.sleep(0.3)
        assert killer.kills == []
        killer.share = 0.6
        until(lambda: bool(killer.kills) and killer.kills[0].away is not None)
    [kill] = killer.kills
    now = killer._find("service process")
    assert now is not None
    assert str(now.pid) not in kill.process
    assert not killer.hit_a_run(killer.began)  # runs survive that
    assert read_state(place).alive("service")


def test_what_does_not_come_back_is_told(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETURN", 0.5)
    port = find_port(0, "")
    begin(place, "service", SERVICE.format(lives=1, port=port), port)
    fault = Fault(victim="service process", act=DAYS[0], moment=0)
    killer = Killer(place, (fault,), time.monotonic(), lambda _: None)
    with (
        pytest.raises(BridgeRecError, match=r"did not come back.*service process \(\d+\)"),
        killer.during(DAYS[0]),
    ):
        until(lambda: bool(killer.kills))


def test_a_stage_is_killed_when_its_turn_has_come(place: Workspace) -> None:
    begin(place, "worker", WORKER, 0)
    act = "A bad candidate"  # computes `train`, then `evaluate`; `prepare` is not its
    fault = Fault(victim="stage", act=act, moment=0.05)
    killer = Killer(place, (fault,), time.monotonic(), lambda _: None)
    with killer.during(act):
        until(lambda: "prepare x" in killer._stages())
        time.sleep(0.3)
        assert killer.kills == []
        killer._stages()["prepare x"].kill()
        until(lambda: bool(killer.kills) and killer.kills[0].away is not None)
    assert "stage train x" in killer.kills[0].process
    assert killer.hit_a_run(killer.began)
    assert not killer.hit_a_run(time.monotonic())


def test_an_act_that_is_over_before_the_moment_kills_nobody(place: Workspace) -> None:
    begin(place, "worker", "import time; time.sleep(600)", 0)
    fault = Fault(victim="worker", act="A bad candidate", moment=0.9)
    killer = Killer(place, (fault,), time.monotonic(), lambda _: None)
    with killer.during("A bad candidate"):
        time.sleep(0.2)
    assert killer.kills == []
    assert read_state(place).alive("worker")


def test_a_fault_that_cannot_be_carried_out_is_told(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no such table")

    monkeypatch.setattr(Killer, "_stages", broken)
    fault = Fault(victim="worker", act="A bad candidate", moment=0)
    killer = Killer(place, (fault,), time.monotonic(), lambda _: None)
    with (
        pytest.raises(BridgeRecError, match=r"A bad candidate.*no such table"),
        killer.during("A bad candidate"),
    ):
        time.sleep(0.2)


def test_tries_that_failed_are_laid_to_the_kill_that_they_met() -> None:
    began, tally = time.monotonic() - 100, Tally()
    tally.failed_at = [(began + a, began + b) for a, b in ((9, 11), (15, 15.5), (50, 51))]
    kill = Kill(victim="service", process="service (1)", act="A", at=10, away=5.2)
    other = Kill(victim="worker", process="worker (2)", act="A", at=60, away=5)
    told, stray = blame([kill, other], [Tally(), tally], began)
    assert [k.failed for k in told] == [2, 0]
    assert stray == 1
    tally.count("/events", 0.5, httpx.ConnectError("refused"))
    tally.count("/events", 0.5, httpx.Response(200))
    assert blame([kill, other], [tally], began)[1] == 2


def test_an_accepted_event_that_is_not_in_the_store_is_lost(tmp_path: Path) -> None:
    place = small_world(tmp_path)
    store = open_store(str(place.state))
    asyncio.run(store.add([Event("e1", "p1", "right", "r01", 1_650_000_000)]))
    store.close()
    assert lost({("p1", "e1"), ("p2", "e1"), ("p1", "e2")}, place) == {("p2", "e1"), ("p1", "e2")}
