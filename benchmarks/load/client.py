"""Load by wrk, a client in C: requests per second, latencies, failures, and who else was busy."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from load.server import Server

SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local requests, turn = {}, 0
function init(args)
  for i, body in ipairs(bodies) do
    requests[i] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
  end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
"""
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Load:
    """What `clients` connections got out of a server; latencies in milliseconds, `cpu` the
    server's microseconds per request, `client` the client's share of one core, `others` that of
    all else on the machine: a tail is the server's only where that is small."""

    clients: int
    rate: float
    cpu: float
    p50: float
    p99: float
    failed: int
    client: float
    others: float

    def __str__(self) -> str:
        return (
            f"{self.clients:4d} clients {self.rate:8.0f} requests/s  {self.cpu:7.0f} µs CPU each "
            f"({1e6 / self.cpu:6.0f}/s/core)  p50 {self.p50:7.2f} ms  p99 {self.p99:7.2f} ms  "
            f"failed {self.failed}  of a core: client {self.client:.0%}, others {self.others:.0%}"
        )


def load(
    server: Server, path: str, clients: int, seconds: int, bodies: Sequence[object] = ()
) -> Load:
    """Send `bodies` in turn (none: GET) for some seconds, after a second that does not count.

    Raises:
        RuntimeError: wrk is missing or fails.
    """
    if shutil.which("wrk") is None:
        raise RuntimeError("this benchmark needs `wrk` (Debian and Ubuntu: apt install wrk)")
    with tempfile.TemporaryDirectory() as name:
        command = ["wrk", "-t1", f"-c{clients}", "--latency", "--timeout", "30s"]
        if bodies:
            lines, script = Path(name) / "bodies", Path(name) / "load.lua"
            lines.write_bytes(b"\n".join(orjson.dumps(body) for body in bodies))
            script.write_text(SCRIPT % lines)
            command += ["-s", str(script)]
        subprocess.run([*command, "-d1s", f"{server.url}{path}"], check=True, capture_output=True)
        before, own, all_ = server.cpu(), os.times(), machine()
        done = subprocess.run(
            [*command, f"-d{seconds}s", f"{server.url}{path}"], capture_output=True, text=True
        )
        spent, later, total = server.cpu() - before, os.times(), machine() - all_
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stderr}")
    count, took = re.search(r"(\d+) requests in ([\d.]+)(\w+)", done.stdout).groups()[:2]  # type: ignore[union-attr]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    broken = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
    failed = int(bad[1]) if bad else 0
    failed += sum(map(int, broken.groups())) if broken else 0
    busy = later.children_user + later.children_system - own.children_user - own.children_system
    return Load(
        clients,
        int(count) / float(took),
        1e6 * spent / int(count),
        _milliseconds(done.stdout, "50%"),
        _milliseconds(done.stdout, "99%"),
        failed,
        busy / float(took),
        max(0.0, total - spent - busy) / float(took),
    )


def machine() -> float:
    """Seconds of all cores that were not idle, so far."""
    times = psutil.cpu_times()
    return float(sum(times[:7]) - times.idle - times.iowait)


def _milliseconds(text: str, name: str) -> float:
    value, unit = re.search(rf"{name}\s+([\d.]+)(us|ms|s|m)\b", text).groups()  # type: ignore[union-attr]
    return float(value) * UNITS[unit]
