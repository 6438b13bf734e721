"""What the training flow costs beside plain `dvc repro`, with nothing to do and with all forced.

    python benchmarks/flow_overhead.py WORKSPACE [--runs 3]

WORKSPACE is one whose pipeline has run.  Both doors are opened in turn, on one Prefect server that
runs already, as with `bridgerec up`.  The flow is started as a deployment's worker does it: a
process that imports Prefect and runs the flow.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bridgerec.pipeline.graph import stages
from bridgerec.runtime import QUIET

FLOW = "from bridgerec.flows.training import training; training({workspace!r}, {options})"


@contextmanager
def server(home: Path) -> Iterator[dict[str, str]]:
    """The environment of a Prefect server that is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    around = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | QUIET
    around |= {"PREFECT_HOME": str(home), "PREFECT_API_URL": api, "OMP_NUM_THREADS": "1"}
    around["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{around['PATH']}"
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=around, stdout=log, stderr=log)
    try:
        limit = time.monotonic() + 300
        while time.monotonic() < limit:
            try:
                httpx.get(f"{api}/health", timeout=10).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.5)
        yield around
    finally:
        process.terminate()
        process.wait()


def seconds(command: list[str], root: Path, around: dict[str, str]) -> float:
    """Wall-clock seconds of a command that has to succeed."""
    began = time.perf_counter()
    subprocess.run(command, cwd=root, env=around, check=True, capture_output=True)
    return time.perf_counter() - began


def in_turn(runs: int, doors: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Median seconds of each, one after the other in every round."""
    taken: dict[str, list[float]] = {name: [] for name in doors}
    for _ in range(runs):
        for name, open_door in doors.items():
            taken[name].append(open_door())
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--forced-runs", type=int, default=1)
    options = parser.parse_args()
    root = options.workspace.resolve()
    repro = [sys.executable, "-m", "dvc", "repro"]

    def flow(words: str) -> list[str]:
        return [sys.executable, "-c", FLOW.format(workspace=str(root), options=words)]

    with tempfile.TemporaryDirectory() as home, server(Path(home)) as around:

        def timed(command: list[str]) -> Callable[[], float]:
            return lambda: seconds(command, root, around)

        seconds(flow("stages=['validate']"), root, around)  # the server's own first time
        kinds = {
            "nothing to do": (options.runs, repro, flow("")),
            "all forced": (options.forced_runs, [*repro, "--force"], flow("force=True")),
        }
        print(f"{len(stages(root))} stages, load {os.getloadavg()[0]:.1f} at the start")
        print("| run | `dvc repro`, s | flow, s | overhead, s |\n| --- | --- | --- | --- |")
        for kind, (runs, plain, through) in kinds.items():
            if runs == 0:
                continue
            found = in_turn(runs, {"plain": timed(plain), "flow": timed(through)})
            gap = found["flow"] - found["plain"]
            print(
                f"| {kind} | {found['plain']:.1f} | {found['flow']:.1f} | {gap:+.1f} |", flush=True
            )


if __name__ == "__main__":
    main()
