"""A new release is on trial before everybody has it (with a real service: the rehearsal)."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.operations.canary import try_on_some
from bridgerec.operations.state import Running, State, write_state
from bridgerec.registry.store import Release
from bridgerec.serving.canary.plan import Plan, read_plan, write_plan
from releases_world import kept


@pytest.fixture
def served(small_workspace: Workspace) -> Workspace:
    """A workspace whose service seems to run; it answers nobody who asks for its state."""
    path = small_workspace.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["gate"] = {"canary": {"weight": 0.5, "answers": 20, "seconds": 5}}
    path.write_text(yaml.safe_dump(params))
    born = psutil.Process().create_time()
    part = Running(pid=os.getpid(), born=born, port=1, url="http://127.0.0.1:1", log="", started="")
    write_state(small_workspace, State(parts={"service": part}))
    small_workspace.traffic.mkdir()
    log(small_workspace.traffic, "next", "fallback", 100)  # of an earlier trial: not counted
    return small_workspace


@pytest.fixture
def release(served: Workspace) -> Release:
    return kept(served.root, "next", 2)


def log(traffic: Path, release: str, route: str, count: int, shadow: bool = False) -> None:
    line = {
        "time": 1.0, "request_id": "q", "release": release, "route": route, "target": "films",
        "k": 1, "history": [], "items": ["a"], "scores": [1.0],
        **({"shadow": True} if shadow else {}),
    }  # fmt: skip
    with (traffic / "requests.1.jsonl").open("a") as file:
        file.write((json.dumps(line) + "\n") * count)


@contextmanager
def meanwhile(control: Path, act: Callable[[], object]) -> Iterator[None]:
    """What people do once the trial has begun."""

    def wait() -> None:
        limit = time.monotonic() + 10
        while not control.exists() and time.monotonic() < limit:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()


def test_a_good_one_stays_on_until_everybody_goes_over(served: Workspace, release: Release) -> None:
    def answers() -> None:
        log(served.traffic, "live", "warm", 30)
        log(served.traffic, "next", "fallback", 30, shadow=True)
        log(served.traffic, "next", "warm", 20)
        with (served.traffic / "requests.2.jsonl").open("a") as file:
            file.write('{"release": "next", "rou')  # on its way

    with meanwhile(served.canary, answers):
        tried = try_on_some(served, release)
    assert tried is not None
    assert tried.reason is None
    assert (tried.answered, tried.fallbacks, tried.others) == (20, 0, 30)
    assert "20 answers" in tried.words
    plan = read_plan(served.canary)
    assert plan.bento == str(release.bento.resolve())
    assert (plan.weight, plan.mode) == (0.5, "canary")
    with meanwhile(served.canary, lambda: log(served.traffic, "next", "warm", 20)):
        again = try_on_some(served, release)  # after a flow that was killed here
    assert again is not None
    assert again.reason is None


@pytest.mark.parametrize("usual", [0, 30])
def test_whose_baseline_answers_too_often_is_rolled_back(
    served: Workspace, release: Release, usual: int
) -> None:
    def answers() -> None:
        log(served.traffic, "live", "fallback", usual)
        log(served.traffic, "live", "warm", 30 - usual)
        log(served.traffic, "next", "fallback", 4)
        log(served.traffic, "next", "warm", 16)

    with meanwhile(served.canary, answers):
        tried = try_on_some(served, release)
    assert tried is not None
    if usual:  # the machine is too busy for everybody
        assert tried.reason is None
    else:
        assert "4 of its 20 answers came from its baseline (20%; 0% of the others')" in tried.words
        assert not served.canary.exists()


def test_one_that_the_workers_switch_off_is_rolled_back(
    served: Workspace, release: Release
) -> None:
    def off() -> None:
        plan = read_plan(served.canary)
        write_plan(served.canary, plan.model_copy(update={"off": "5 failures in a row"}))

    with meanwhile(served.canary, off):
        tried = try_on_some(served, release)
    assert tried is not None
    assert tried.reason == "5 failures in a row"
    assert not served.canary.exists()


def test_nobody_asks(served: Workspace, release: Release) -> None:
    tried = try_on_some(served, release)
    assert tried is not None
    assert tried.reason is None
    assert tried.answered == 0
    assert tried.seconds >= 5


def test_no_trial_beside_a_persons_or_without_a_service(
    served: Workspace, release: Release
) -> None:
    mine = Plan(bento="elsewhere", weight=0.5)
    write_plan(served.canary, mine)
    assert try_on_some(served, release) is None
    assert read_plan(served.canary) == mine
    served.canary.unlink()
    write_state(served, State())
    assert try_on_some(served, release) is None
    assert not served.canary.exists()
