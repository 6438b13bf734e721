"""Starting the packaged service, for people, tests and the demo."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bridgerec.errors import ArtifactError
from bridgerec.registry.bundle import find_bundle
from bridgerec.runtime import QUIET


def command(bento: Path, port: int, host: str) -> list[str]:
    """The argument list of `bentoml serve` for a Bento's folder.

    Raises:
        ArtifactError: there is no Bento.
    """
    find_bundle(bento)
    return [
        sys.executable, "-m", "bentoml", "serve", str(bento.resolve()),
        "--host", host, "--port", str(port),
    ]  # fmt: skip


def environment(traffic: Path | None, state: str | None = None, workers: int = 1) -> dict[str, str]:
    """This process's environment with quiet telemetry, the traffic folder, where live state is
    kept (a folder or a redis:// address; None: as the environment says), and how many processes
    answer."""
    found = {**os.environ, **QUIET, "OTEL_SDK_DISABLED": "true"}
    found["BRIDGEREC_WORKERS"] = str(workers)
    if traffic is not None:
        found["BRIDGEREC_TRAFFIC"] = str(traffic.resolve())
    if state is not None:
        found["BRIDGEREC_STATE"] = state if "://" in state else str(Path(state).resolve())
    return found


def serve(
    bento: Path,
    port: int = 3000,
    host: str = "127.0.0.1",
    workers: int = 1,
    traffic: Path | None = None,
    state: str | None = None,
) -> int:
    """Serve until stopped; SIGTERM and SIGINT are passed on; returns the exit code."""
    process = subprocess.Popen(command(bento, port, host), env=environment(traffic, state, workers))

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
    state: str | None = None,
) -> Iterator[str]:
    """Serve on a free port while the block runs; gives the base URL once ready.  Without `state`
    what the service learns is gone afterwards.

    Raises:
        ArtifactError: the service stopped or did not become ready in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as scratch:
        said = Path(scratch) / "log"
        with said.open("wb") as output:
            process = subprocess.Popen(
                command(bento, port, "127.0.0.1"),
                env=environment(traffic, state or scratch, workers),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _wait(process, url, timeout, said)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, timeout: float, said: Path) -> None:
    limit = time.monotonic() + timeout
    failure = f"was not ready within {timeout:.0f} s"
    while time.monotonic() < limit:
        if process.poll() is not None:
            failure = f"stopped with exit code {process.returncode}"
            break
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    end = said.read_text(errors="replace").strip()[-2000:]
    raise ArtifactError(f"the service {failure}. It said last:\n{end}")
