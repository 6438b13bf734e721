"""Staying: what is gone is started again, on its own port."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError
from bridgerec.operations import keep as module
from bridgerec.operations.control import AtWork
from bridgerec.operations.keep import keep, kept
from bridgerec.operations.processes import start, stop
from bridgerec.operations.state import Running, State, read_state, write_state

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def part(root: Path, port: int | None) -> Running:
    return start(SLEEP, dict(os.environ), root, root / "log", port, "")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    """Two parts run."""
    found = Workspace.open(tmp_path)
    write_state(
        found, State(parts={"service": part(tmp_path, 3210), "worker": part(tmp_path, None)})
    )
    yield found
    for one in read_state(found).parts.values():
        stop(one)


def until(true: object) -> None:
    limit = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_killed_part_is_started_again_on_its_own_port(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, int]] = []

    def up(workspace: Workspace, ports: dict[str, int], say: object) -> None:
        asked.append(dict(ports))
        state = read_state(workspace)
        if len(asked) == 1:  # as `up` leaves it when a start fails
            write_state(workspace, State(parts={"worker": state.parts["worker"]}))
            raise BridgeRecError("the service stopped")
        if len(asked) == 2:
            raise AtWork("another one")
        state.parts["service"] = part(workspace.root, ports["service"])
        write_state(workspace, state)

    monkeypatch.setattr(module, "up", up)
    before, lines = read_state(place).parts, list[str]()
    with kept(place, lines.append, every=0.05):
        time.sleep(0.3)
        assert asked == []  # all is well
        os.kill(before["service"].pid, signal.SIGKILL)
        until(lambda: len(asked) == 3 and read_state(place).alive("service"))
        time.sleep(0.3)
    assert asked == [{"service": 3210, "worker": 0}] * 3
    assert lines == ["the service stopped"]
    after = read_state(place).parts
    assert after["worker"] == before["worker"]
    assert after["service"].pid != before["service"].pid


def test_it_ends_after_down(place: Workspace) -> None:
    for one in read_state(place).parts.values():
        stop(one)
    write_state(place, State())
    keep(place, Event(), every=0.01)
