"""Starting servers in processes of their own, and what they cost."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import httpx
import psutil

from bridgerec.runtime import QUIET

BARE = """
import orjson
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

known = {f"U{u:06d}": [f"I{(u * 31 + i) % 100_000:07d}" for i in range(20)] for u in range(1000)}

async def look_up(request):
    body = orjson.loads(await request.body())
    return Response(orjson.dumps({"items": known[body["user_id"]]}), media_type="application/json")

app = Starlette(routes=[Route("/recommend", look_up, methods=["POST"])])
"""
DEFAULT = """
import bentoml

known = {f"U{u:06d}": [f"I{(u * 31 + i) % 100_000:07d}" for i in range(20)] for u in range(1000)}

@bentoml.service
class Recommendations:
    @bentoml.api
    async def recommend(self, user_id: str) -> dict:
        return {"items": known[user_id]}
"""


@dataclass(frozen=True)
class Server:
    """A running server: `ready` seconds after its start."""

    url: str
    process: psutil.Process
    ready: float

    def all(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """Its processes, the busiest first."""
        return sorted(self.all(), key=lambda p: -sum(p.cpu_times()[:2]))

    def cpu(self) -> float:
        """Seconds of processor time so far, of all its processes."""
        return sum(sum(p.cpu_times()[:2]) for p in self.all())

    def rest(self, limit: float = 60) -> None:
        """Wait until it does nothing: a worker goes on loading for a while once it is ready."""
        end, before = time.monotonic() + limit, self.cpu()
        time.sleep(2)  # it begins a second after it is ready
        while time.monotonic() < end and (now := self.cpu()) - before > 0.02:
            before = now
            time.sleep(1)


@contextmanager
def started(command: list[str], folder: Path, check: str, **environment: str) -> Iterator[Server]:
    """Run `command` with {port} filled in until the block ends; waits until `check` answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    env |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", **environment}
    log = (folder / "server.log").open("ab")
    start = time.monotonic()
    process = subprocess.Popen(
        [part.format(port=port) for part in command], cwd=folder, env=env, stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                if httpx.get(f"{url}{check}", timeout=5).status_code < 500:
                    break
            except httpx.HTTPError:
                pass
            if process.poll() is not None or time.monotonic() - start > 120:
                raise RuntimeError(f"the server did not start; see {folder / 'server.log'}")
            time.sleep(0.05)
        yield Server(url, psutil.Process(process.pid), time.monotonic() - start)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def bare(folder: Path) -> list[str]:
    (folder / "bare.py").write_text(BARE)
    return [sys.executable, "-m", "uvicorn", "bare:app", "--port", "{port}", "--no-access-log"]


def default(folder: Path) -> list[str]:
    (folder / "default.py").write_text(DEFAULT)
    return bento("default:Recommendations")


def bento(name: str) -> list[str]:
    return [
        sys.executable, "-m", "bentoml", "serve", name, "--host", "127.0.0.1", "--port", "{port}"
    ]  # fmt: skip


def ours(folder: Path) -> list[str]:
    """The service over `folder/bundle`, by the Bento's own entry."""
    entry = files("bridgerec.templates") / "service.py.txt"
    (folder / "service.py").write_bytes(entry.read_bytes())
    return bento("service:Recommendations")
