"""A server and its client before all other work of the machine, so that its tails are its own."""

from contextlib import suppress
from pathlib import Path

import psutil

from load.server import Server

FIRST = -20  # niceness


def prefer(server: Server) -> None:
    """Let the kernel prefer a server's processes and this one to whatever else runs.

    Linux shares a core among sessions first (autogroups), then among a session's processes.

    Raises:
        PermissionError: only root may.
    """
    for process in [psutil.Process(), *server.all()]:
        with suppress(psutil.NoSuchProcess, FileNotFoundError):  # it ended; a kernel without groups
            process.nice(FIRST)
            Path(f"/proc/{process.pid}/autogroup").write_text(str(FIRST))
