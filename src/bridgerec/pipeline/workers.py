"""Long computations side by side, each in a process of its own with its share of the cores."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from typing import Any, TypeVar

from bridgerec.errors import BridgeRecError
from bridgerec.progress import show_by
from bridgerec.progress.passing import PassedOn, passed_on

Task = TypeVar("Task")
Found = TypeVar("Found")
Shared = TypeVar("Shared")
_shared: Callable[[], Any]  # of a worker: makes what its tasks share, once


def side_by_side(
    begin: Callable[[], Shared],
    work: Callable[[Shared, Task], Found],
    tasks: Sequence[Task],
    alone: bool = False,
) -> Iterator[tuple[Task, Found]]:
    """Each task with `work(shared, task)`, as they are done; `shared` is made once per process.

    There are as many processes as PyTorch has threads (`OMP_NUM_THREADS`), at most one per task,
    and they divide the threads among themselves.  `alone`: all in this process.  The first error
    of a task is raised, and what has not begun is dropped.

    Raises:
        BridgeRecError: a process was killed.
    """
    count = 1 if alone else min(_threads(), len(tasks))
    if count <= 1:
        shared = begin()
        for task in tasks:
            yield task, work(shared, task)
        return
    context = get_context("spawn")
    with passed_on(context) as view:
        given = (begin, _threads() // count, os.getpid(), view)
        pool = ProcessPoolExecutor(count, context, _begin, given)
        try:
            running = {pool.submit(_run, work, task): task for task in tasks}
            for done in as_completed(running):
                yield running[done], done.result()
        except BrokenProcessPool as error:
            raise BridgeRecError(
                f"one of {count} processes side by side was killed, most likely because memory ran "
                "out. Run again with OMP_NUM_THREADS=1, which does one thing at a time."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _threads() -> int:
    import torch  # seconds, which whoever works alone may not need

    return torch.get_num_threads()


def _begin(begin: Callable[[], Any], threads: int, parent: int, view: PassedOn) -> None:
    global _shared
    import torch

    show_by(view)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    # made by the first task: an error in here would only look like a process that was killed
    _shared = cache(begin)


def _run(work: Callable[[Any, Task], Found], task: Task) -> Found:
    return work(_shared(), task)


def _end_with(parent: int) -> None:
    """A stage that was killed leaves no process behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
