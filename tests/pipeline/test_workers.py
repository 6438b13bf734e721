"""Computations side by side in processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from bridgerec.errors import BridgeRecError
from bridgerec.pipeline.workers import side_by_side
from bridgerec.progress import PROGRESS, bar, track


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def share(value: int) -> tuple[int, int]:
    return value, os.getpid()


def add(shared: tuple[int, int], task: int) -> tuple[int, int, int]:
    return shared[0] + task, os.getpid(), torch.get_num_threads()


def fail(shared: tuple[int, int], task: int) -> None:
    raise BridgeRecError(f"task {task}")


def begin_badly() -> tuple[int, int]:
    raise BridgeRecError("nothing to share")


def die(shared: tuple[int, int], task: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_tasks_share_the_threads() -> None:
    done = dict(side_by_side(partial(share, 10), add, [1, 2, 3]))
    assert {task: found[0] for task, found in done.items()} == {1: 11, 2: 12, 3: 13}
    assert os.getpid() not in {found[1] for found in done.values()}
    assert {found[2] for found in done.values()} == {1}


@pytest.mark.parametrize("tasks", [[1], [1, 2]])
def test_alone_is_this_process(tasks: list[int]) -> None:
    alone = len(tasks) > 1
    done = dict(side_by_side(partial(share, 10), add, tasks, alone=alone))
    assert {found[1:] for found in done.values()} == {(os.getpid(), 2)}


def count(shared: tuple[int, int], task: int) -> None:
    list(track(range(task), f"steps of {task}", inner=True))


def test_this_process_shows_how_far_the_others_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRESS, "1")
    with bar("tasks", 2) as advance:
        for _ in side_by_side(partial(share, 0), count, [3, 4]):
            advance(1)
    lines = capsys.readouterr().out.splitlines()
    assert {"@progress 2/2 tasks", "@progress 3/3 steps of 3", "@progress 4/4 steps of 4"} <= {
        *lines
    }
    list(side_by_side(partial(share, 0), count, [3, 4]))  # nobody shows anything
    assert capsys.readouterr().out == ""


def test_an_error_is_raised_as_it_is() -> None:
    with pytest.raises(BridgeRecError, match="task 1"):
        list(side_by_side(partial(share, 0), fail, [1, 1]))


def test_an_error_of_what_is_shared_is_raised_as_it_is() -> None:
    with pytest.raises(BridgeRecError, match="nothing to share"):
        list(side_by_side(begin_badly, add, [1, 2]))


def test_a_killed_process_is_told() -> None:
    with pytest.raises(BridgeRecError, match="OMP_NUM_THREADS=1"):
        list(side_by_side(partial(share, 0), die, [1, 2]))


SLEEPER = """
import sys, time
from bridgerec.pipeline.workers import side_by_side
def nothing(): return None
def sleep(shared, task):
    print(task, flush=True)
    time.sleep(600)
if __name__ == "__main__":
    import torch
    torch.set_num_threads(2)
    list(side_by_side(nothing, sleep, [1, 2]))
"""


def test_a_killed_parent_leaves_nothing_behind(tmp_path: Path) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert {parent.stdout.readline(), parent.stdout.readline()} == {b"1\n", b"2\n"}
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        parent.kill()
        parent.stdout.close()
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert gone
