"""DVC by forks of one process: its output, its exit code, and what happens when somebody dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bridgerec.pipeline.command import dvc

STAGE = "stages: {slow: {cmd: 'echo begun; sleep 60'}}\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    assert dvc(tmp_path, "init", "--no-scm", "--quiet")[0] == 0
    return tmp_path


def forks() -> list[psutil.Process]:
    """The processes that this one started to fork from."""
    return [p for p in psutil.Process().children() if "bridgerec.pipeline.forks" in p.cmdline()]


def test_output_and_exit_code(repository: Path) -> None:
    lines: list[str] = []
    (repository / "dvc.yaml").write_text(
        "stages: {one: {cmd: 'echo $COLOUR; echo bad >&2; exit 3'}}"
    )
    code, last = dvc(repository, "repro", say=lines.append, around={"COLOUR": "blue"})
    assert code != 0
    assert {"blue", "bad"} < set(lines)
    assert last.splitlines() == lines
    assert dvc(repository, "status", "--quiet", say=lines.append)[0] != 0
    assert os.environ.get("COLOUR") is None


def test_a_killed_server_is_replaced(repository: Path) -> None:
    [server] = forks()
    server.kill()
    psutil.wait_procs([server], timeout=10)
    assert dvc(repository, "root", say=lambda _: None) == (0, ".")
    assert server not in forks()


def test_a_killed_call_is_an_error_and_an_interrupted_one_takes_its_stage_along(
    repository: Path,
) -> None:
    (repository / "dvc.yaml").write_text(STAGE)

    def killed(line: str) -> None:
        if line == "begun":
            [call] = forks()[0].children()
            below = call.children(recursive=True)
            for process in (call, *below):
                process.kill()

    assert dvc(repository, "repro", say=killed)[0] == -signal.SIGKILL

    def interrupted(line: str) -> None:
        if line == "begun":
            raise KeyboardInterrupt

    [server] = forks()
    with pytest.raises(KeyboardInterrupt):
        dvc(repository, "repro", say=interrupted)
    limit = time.monotonic() + 20
    while server.children(recursive=True) and time.monotonic() < limit:
        time.sleep(0.1)
    assert server.children(recursive=True) == []


def test_it_ends_with_who_started_it(repository: Path) -> None:
    code = (
        "import sys, psutil; from pathlib import Path; from bridgerec.pipeline.command import dvc\n"
        "dvc(Path(sys.argv[1]), 'root')\n"
        "print(psutil.Process().children()[0].pid)"
    )
    command = [sys.executable, "-c", code, str(repository)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    limit = time.monotonic() + 20
    while psutil.pid_exists(int(said[-1])) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not psutil.pid_exists(int(said[-1]))


def test_a_killed_caller_takes_its_stage_along(repository: Path) -> None:
    (repository / "dvc.yaml").write_text(STAGE.replace("sleep 60", "echo $$ > pid; sleep 60"))
    code = (
        "import sys; from pathlib import Path; from bridgerec.pipeline.command import dvc\n"
        "dvc(Path(sys.argv[1]), 'repro')"
    )
    caller = subprocess.Popen([sys.executable, "-c", code, str(repository)])
    limit, written = time.monotonic() + 120, repository / "pid"
    while not (written.is_file() and written.read_text().strip()) and time.monotonic() < limit:
        time.sleep(0.05)
    stage = psutil.Process(int(written.read_text()))
    caller.kill()
    caller.wait()
    psutil.wait_procs([stage], timeout=30)
    assert not stage.is_running()
    (repository / "dvc.yaml").write_text("stages: {slow: {cmd: 'echo again'}}\n")
    assert dvc(repository, "repro")[0] == 0  # no lock is held
