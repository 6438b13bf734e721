"""One process: a port for it, starting, waiting until it is well, stopping."""

import os
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.operations.state import Running
from bridgerec.registry.store import now

HOST = "127.0.0.1"
PATIENCE = 20.0  # seconds between TERM and KILL
LOG_END = 2000  # characters of a log that an error quotes


def find_port(port: int, option: str) -> int:
    """The port itself if it is free; for 0 any free one.

    Raises:
        ConfigError: somebody listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} is in use{_by_whom(port)}. Stop that, or choose another one: "
                f"{option} PORT (0: any free port)."
            ) from error
        return int(probe.getsockname()[1])


def _by_whom(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for c in psutil.net_connections("tcp"):
            if c.status == psutil.CONN_LISTEN and c.laddr.port == port and c.pid:
                return f" by {psutil.Process(c.pid).name()} (process {c.pid})"
    return ""


def start(
    command: list[str], around: dict[str, str], root: Path, log: Path, port: int | None, url: str
) -> Running:
    """Start a process in a group of its own; what it prints goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=around,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        born = psutil.Process(process.pid).create_time()
    except psutil.Error:
        born = 0.0  # gone already; whoever waits for it reads its log
    return Running(pid=process.pid, born=born, port=port, url=url, log=str(log), started=now())


def wait_until(name: str, part: Running, well: Callable[[], bool], seconds: float) -> None:
    """Wait until `well()`.

    Raises:
        BridgeRecError: the process ended, or was not well in time; with the end of its log.
    """
    limit = time.monotonic() + seconds
    while True:
        process = part.process
        if process is not None and well():
            return
        if process is None or time.monotonic() > limit:
            what = "stopped" if process is None else f"was not ready within {seconds:.0f} s"
            said = Path(part.log).read_text(errors="replace").strip()[-LOG_END:]
            raise BridgeRecError(f"the {name} {what}. Its log, {part.log}, ends with:\n{said}")
        time.sleep(0.2)


def stop(part: Running, patience: float = PATIENCE) -> bool:
    """TERM, wait, KILL; also the children that are left.  False: all were gone already."""
    process = part.process
    if process is not None:
        with suppress(psutil.Error):
            process.terminate()
        _, stubborn = psutil.wait_procs([process], timeout=patience)
        for one in stubborn:
            one.kill()
        psutil.wait_procs(stubborn, timeout=5)
    left = orphans(part)
    for one in left:
        with suppress(psutil.Error):
            one.terminate()
    _, stubborn = psutil.wait_procs(left, timeout=min(patience, 5))
    for one in stubborn:
        with suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(stubborn, timeout=5)
    return process is not None or bool(left)


def orphans(part: Running) -> list[psutil.Process]:
    """Children of a part that is gone: who is still in the group that was made for it.

    While they live the system gives the group's number to nobody else; after a restart of the
    machine, or if another process has that number, there are none.
    """
    with suppress(ChildProcessError):
        os.waitpid(part.pid, os.WNOHANG)  # where this process started it, and nobody asked since
    if psutil.pid_exists(part.pid) or psutil.boot_time() > part.born:
        return []
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == part.pid and process.create_time() >= part.born - 1:
                found.append(process)
    return found
