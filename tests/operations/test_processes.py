"""Ports, processes and the state file."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.operations.processes import find_port, orphans, start, stop, wait_until
from bridgerec.operations.state import Running, State, alone, read_state, write_state

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); "


def run(tmp_path: Path, code: str) -> Running:
    return start(
        [sys.executable, "-c", code], dict(os.environ), tmp_path, tmp_path / "log", None, ""
    )


def said(tmp_path: Path, text: str) -> None:
    limit = time.monotonic() + 60
    while text not in (tmp_path / "log").read_text():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_port_in_use_is_named_with_the_option() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} is in use.*--service-port PORT"):
            find_port(port, "--service-port")
        free = find_port(0, "--service-port")
        assert free not in (0, port)
        assert find_port(free, "--service-port") == free


def test_term_then_kill(tmp_path: Path) -> None:
    part = run(tmp_path, STUBBORN + "time.sleep(600)")
    said(tmp_path, "up")
    assert part.process is not None
    assert stop(part, patience=0.5)
    assert not psutil.pid_exists(part.pid)
    assert part.process is None
    assert not stop(part)


def test_children_of_a_killed_part_are_stopped_too(tmp_path: Path) -> None:
    child = "import time; time.sleep(600)"
    part = run(
        tmp_path,
        f"import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', '{child}']); "
        "print('child', p.pid, '.', flush=True); time.sleep(600)",
    )
    said(tmp_path, ".")
    number = int((tmp_path / "log").read_text().split()[1])
    assert orphans(part) == []  # the parent is there
    process = psutil.Process(part.pid)
    process.kill()
    while process.status() != psutil.STATUS_ZOMBIE:  # nobody has asked yet how it ended
        time.sleep(0.01)
    assert [p.pid for p in orphans(part)] == [number]
    assert stop(part)
    assert not psutil.pid_exists(number) or psutil.Process(number).status() == "zombie"


def test_another_process_of_the_same_number_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        born = psutil.Process(stranger.pid).create_time() - 100
        part = Running(pid=stranger.pid, born=born, port=1, url="", log="", started="")
        assert part.process is None
        assert not stop(part)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_part_that_stops_or_is_slow_quotes_its_log(tmp_path: Path) -> None:
    part = run(tmp_path, "import sys; sys.exit('no such database')")
    with pytest.raises(BridgeRecError, match=r"(?s)the server stopped.*no such database"):
        wait_until("server", part, lambda: False, 60)
    slow = run(tmp_path, "import time; print('still at it', flush=True); time.sleep(600)")
    said(tmp_path, "still")
    try:
        with pytest.raises(BridgeRecError, match=r"(?s)not ready within.*still at it"):
            wait_until("server", slow, lambda: False, 0.5)
    finally:
        stop(slow)


def test_the_state_survives_and_damage_is_told(tmp_path: Path) -> None:
    place = Workspace.open(tmp_path)
    assert read_state(place) == State()
    part = Running(pid=1, born=0.5, port=80, url="u", log="l", started="now")
    write_state(place, State(parts={"service": part}, deployed="abc"))
    found = read_state(place)
    assert found.parts["service"] == part
    assert not found.alive("service")
    (tmp_path / ".bridgerec" / "running.json").write_text("{")
    with pytest.raises(BridgeRecError, match="damaged"):
        read_state(place)


def test_only_one_at_a_time(tmp_path: Path) -> None:
    place = Workspace.open(tmp_path)
    busy = BridgeRecError("another one is at work")
    code = (
        "import sys; from bridgerec.config import Workspace; "
        "from bridgerec.errors import BridgeRecError; "
        "from bridgerec.operations.state import alone\n"
        "with alone(Workspace.open(sys.argv[1]), sys.argv[2], BridgeRecError('busy here')): "
        "print('entered')"
    )

    def other(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), name], capture_output=True, text=True
        )

    with alone(place, "up.lock", busy):
        refused = other("up.lock")
        assert refused.returncode != 0
        assert "busy here" in refused.stderr
        assert other("backfill.lock").stdout == "entered\n"
        with (
            pytest.raises(BridgeRecError, match="another one is at work"),
            alone(place, "up.lock", busy),
        ):
            pass
    assert other("up.lock").stdout == "entered\n"
