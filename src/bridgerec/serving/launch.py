"""Starting the packaged service, for people, tests and the demo."""

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bridgerec.errors import ArtifactError, ConfigError
from bridgerec.registry.bundle import find_bundle
from bridgerec.runtime import QUIET
from bridgerec.serving.canary import CANARY
from bridgerec.serving.guard.settings import KEYS, OPEN, WORKERS
from bridgerec.serving.keys import list_keys
from bridgerec.serving.tied import tied_group


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


@dataclass(frozen=True)
class Settings:
    """What a service is told by its environment.

    `traffic`: the folder of the traffic log.  `state`: where live state is kept, a folder or a
    redis:// address.  `keys`: the file of API keys; None: an open service, for this machine alone
    unless `open_to_all`.  `canary`: the control file of a second release.  None elsewhere: as the
    environment says.
    """

    workers: int = 1
    traffic: Path | None = None
    state: str | None = None
    keys: Path | None = None
    open_to_all: bool = False
    canary: Path | None = None

    def environment(self, home: Path) -> dict[str, str]:
        """This process's environment with quiet telemetry and these settings.  `home` is a new
        folder: in a shared one BentoML empties the metrics of a service that runs already."""
        found = {**os.environ, **QUIET, "OTEL_SDK_DISABLED": "true", WORKERS: str(self.workers)}
        found["BENTOML_HOME"] = str(home)
        # bytecode beside the Bento's code would change its hash: DVC and `verify` would object
        found["PYTHONDONTWRITEBYTECODE"] = "1"
        files = {"BRIDGEREC_TRAFFIC": self.traffic, KEYS: self.keys, CANARY: self.canary}
        found |= {name: str(path.resolve()) for name, path in files.items() if path is not None}
        if self.state is not None:
            address = "://" in self.state
            found["BRIDGEREC_STATE"] = self.state if address else str(Path(self.state).resolve())
        if self.open_to_all:
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
    bento: Path, port: int = 3000, host: str = "127.0.0.1", told: Settings | None = None
) -> int:
    """Serve until stopped; SIGTERM and SIGINT are passed on; returns the exit code.

    Raises:
        ConfigError: other machines could ask, and there are no keys (see `check_access`).
    """
    told = told or Settings()
    check_access(host, told.keys, told.open_to_all)
    with tempfile.TemporaryDirectory(prefix="bridgerec-") as home:
        around = told.environment(Path(home))
        process = subprocess.Popen(command(bento, port, host), env=around)

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
    keys: Path | None = None,
    canary: Path | None = None,
    log: Path | None = None,
) -> Iterator[str]:
    """Serve on a free port while the block runs; gives the base URL once ready.  Without `state`
    what the service learns is gone afterwards.  `log` is the file for everything it prints.  The
    service and its workers do not outlive this process, whatever ends it.

    Raises:
        ArtifactError: the service stopped or did not become ready in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as scratch:
        said = log or Path(scratch) / "log"
        told = Settings(workers, traffic, state or scratch, keys, canary=canary)
        with tied_group() as group:
            with said.open("ab") as output:
                process = subprocess.Popen(
                    command(bento, port, "127.0.0.1"),
                    env=told.environment(Path(scratch) / "home"),
                    stdout=output,
                    stderr=output,
                    process_group=group,
                )
            try:
                _wait(process, url, timeout, said)
                yield url
            finally:
                process.terminate()
                try:
                    process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    process.kill()
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
