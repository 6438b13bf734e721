"""Starting the packaged service, for people, tests and the demo."""

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bridgerec.errors import ArtifactError, ConfigError
from bridgerec.registry.bundle import find_bundle
from bridgerec.runtime import QUIET
from bridgerec.serving.guard.settings import KEYS, OPEN, WORKERS
from bridgerec.serving.keys import list_keys


def command(bento: Path, port: int, host: str, workers: int) -> list[str]:
    """The argument list of `bentoml serve` for a Bento's folder.

    Raises:
        ArtifactError: there is no Bento.
    """
    find_bundle(bento)
    return [
        sys.executable, "-m", "bentoml", "serve", str(bento.resolve()),
        "--host", host, "--port", str(port), "--api-workers", str(workers),
    ]  # fmt: skip


def environment(
    traffic: Path | None,
    workers: int = 1,
    keys: Path | None = None,
    open_to_all: bool = False,
) -> dict[str, str]:
    """This process's environment with quiet telemetry, the traffic folder and the guard's part."""
    found = {**os.environ, **QUIET, "OTEL_SDK_DISABLED": "true", WORKERS: str(workers)}
    if traffic is not None:
        found["BRIDGEREC_TRAFFIC"] = str(traffic.resolve())
    if keys is not None:
        found[KEYS] = str(keys.resolve())
    if open_to_all:
        found[OPEN] = "1"
    return found


def check_access(host: str, keys: Path | None, open_to_all: bool) -> None:
    """Refuse to listen for other machines without API keys.

    Raises:
        ConfigError: the host is no IP address, is not this machine's own while there are no keys,
            or the keys cannot be read.
    """
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise ConfigError(f"--host {host}: write an IP address, such as 127.0.0.1.") from error
    if keys is not None:
        list_keys(keys)
    elif not local and not open_to_all:
        raise ConfigError(
            f"--host {host} would let other machines ask a service without API keys. Make one with "
            "`bridgerec keys add NAME`, or say --open to let everybody in."
        )


def serve(
    bento: Path,
    port: int = 3000,
    host: str = "127.0.0.1",
    workers: int = 1,
    traffic: Path | None = None,
    keys: Path | None = None,
    open_to_all: bool = False,
) -> int:
    """Serve until stopped; SIGTERM and SIGINT are passed on; returns the exit code.

    Raises:
        ConfigError: other machines could ask, and there are no keys (see `check_access`).
    """
    check_access(host, keys, open_to_all)
    around = environment(traffic, workers, keys, open_to_all)
    process = subprocess.Popen(command(bento, port, host, workers), env=around)

    def forward(number: int, _: object) -> None:
        process.send_signal(signal.SIGTERM if number == signal.SIGTERM else signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    return process.wait()


@contextmanager
def running(
    bento: Path,
    workers: int = 1,
    traffic: Path | None = None,
    timeout: float = 60,
    keys: Path | None = None,
    log: Path | None = None,
) -> Iterator[str]:
    """Serve on a free port while the block runs; gives the base URL once ready.  `log` is the
    file for everything that the service prints.

    Raises:
        ArtifactError: the service stopped or did not become ready in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (log or Path(os.devnull)).open("ab") as output:
        process = subprocess.Popen(
            command(bento, port, "127.0.0.1", workers),
            env=environment(traffic, workers, keys),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, url, timeout)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, timeout: float) -> None:
    limit = time.monotonic() + timeout
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise ArtifactError(f"the service stopped with exit code {process.returncode}.")
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise ArtifactError(f"the service was not ready within {timeout:.0f} s.")
