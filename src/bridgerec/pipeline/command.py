"""DVC as a command in a workspace, its output line by line.

A pipeline of 20 stages is 20 calls of DVC, and most of a call is importing it.  So one process
imports DVC (`forks`), and every call is a fork of it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock

from bridgerec.errors import BridgeRecError

Say = Callable[[str], None]
KEPT_LINES = 25
_servers: dict[int, socket.socket] = {}  # of this process; a fork of it needs its own
_one_at_a_time = Lock()


def dvc(
    root: Path, *words: str, say: Say = print, around: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run `dvc WORDS` in `root`; returns its exit code and its last lines.

    Every line goes to `say`.  `around` is added to this process's environment.  When the caller is
    interrupted, DVC and the stage that it runs are stopped too.

    Raises:
        BridgeRecError: the process that runs DVC cannot be started.
    """
    # `bridgerec` and `dvc` of this environment, whether or not it is activated
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    own = {"PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "true"}
    request = {
        "root": str(root),
        "words": list(words),
        "around": {**os.environ, **own, **(around or {})},
    }
    output, status = _ask(json.dumps(request).encode())
    last: deque[str] = deque(maxlen=KEPT_LINES)
    pid, code = 0, -signal.SIGKILL
    try:
        with open(output, encoding="utf-8", errors="replace") as lines, open(status) as told:
            pid = int(told.readline() or 0)
            for line in lines:
                if text := line.rstrip():
                    last.append(text)
                    say(text)
            code = int(told.readline() or code)
            pid = 0
    finally:
        if pid:  # the flow was cancelled
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)
    return code, "\n".join(last)


def _ask(request: bytes) -> tuple[int, int]:
    """Send a request; returns the ends of the pipes that tell the output, and pid and exit code."""
    pipes = [os.pipe() for _ in range(2)]
    try:
        with _one_at_a_time:
            for attempt in range(2):
                server = _server(afresh=attempt > 0)
                try:
                    socket.send_fds(
                        server, [len(request).to_bytes(4, "big")], [w for _, w in pipes]
                    )
                    server.sendall(request)
                    break
                except OSError as error:  # it was killed
                    if attempt:
                        raise BridgeRecError(f"DVC cannot be started: {error}") from error
    except BaseException:
        for reading, _ in pipes:
            os.close(reading)
        raise
    finally:
        for _, writing in pipes:
            os.close(writing)
    return pipes[0][0], pipes[1][0]


def _server(afresh: bool) -> socket.socket:
    if afresh and os.getpid() in _servers:
        _servers.pop(os.getpid()).close()
    if os.getpid() not in _servers:
        ours, theirs = socket.socketpair()
        with theirs:
            subprocess.Popen(
                [sys.executable, "-m", "bridgerec.pipeline.forks", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        _servers[os.getpid()] = ours
    return _servers[os.getpid()]
