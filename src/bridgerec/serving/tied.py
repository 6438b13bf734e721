"""Processes that end with the one that they were started for, also where that one is killed."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Nobody writes into its pipe, so `cat` ends when the other end is closed: by the system, if by
# nobody else.  0 is the group itself; the trap keeps the shell alive until it can kill.
WATCH = "trap '' TERM; cat; kill -TERM 0; sleep 10; kill -KILL 0"


@contextmanager
def tied_group() -> Iterator[int]:
    """The number of a process group for children (`Popen(process_group=...)`) while the block runs.

    Who is in it afterwards, children of children too, is killed; where this process dies inside
    the block they get TERM at once and KILL ten seconds later.  The group is there, with its
    watcher, before anybody joins it, so that there is no moment at which a child is on its own.
    """
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", WATCH],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        yield watcher.pid
    finally:
        os.killpg(watcher.pid, signal.SIGKILL)
        watcher.communicate()


def end_with(parent: int) -> None:
    """Let this process get a SIGTERM within a second after `parent`, which started it, is gone.

    BentoML's workers are no members of its group and do not look after it: without their manager
    they would answer for ever, on a port that nobody can have again.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent").start()
