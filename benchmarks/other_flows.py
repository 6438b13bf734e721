"""What the flows release, monitoring, backfill and retraining cost beside plain commands.

    python benchmarks/other_flows.py WORKSPACE [--runs 3] [--only FLOW ...]

WORKSPACE is one whose pipeline has run; everything happens in a copy.  Both doors are opened in
turn, on one Prefect server that runs already; each is a process of its own.  Plain are `bridgerec
monitor` and `bridgerec backfill`; for a release, which has no command, the same functions called
one after the other; for a retraining `bridgerec intake`, `dvc repro` and that release.  The
retraining has nothing new, so that nothing is computed: what stages cost more in a flow is told by
`flow_overhead.py`.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from flow_overhead import in_turn, seconds, server

PEOPLE = 300  # histories of the traffic log
FLOW = "from bridgerec.flows.{name} import {name}; {name}({root!r})"
RELEASE = """
from bridgerec.config import Workspace
from bridgerec.pipeline import graph
from bridgerec.registry.current import promote
from bridgerec.registry.store import Store
from bridgerec.registry.verdict import judge
from bridgerec.serving.trial import try_bento
workspace = Workspace.open({root!r})
graph.reproduce(workspace.root, "package", print)
trial = try_bento(workspace.bento, list(workspace.params.target_domains))
store = Store.of(workspace)
promote(store, store.keep(workspace, judge(workspace, trial).model_dump(mode="json")))
"""


def write_traffic(root: Path) -> None:
    """A log in which people of the training data ask with their own histories."""
    prepared = root / "artifacts" / "prepared"
    items = pl.read_parquet(prepared / "items.parquet", columns=["domain", "item_id"])
    rows = pl.read_parquet(prepared / "interactions.parquet", columns=["user", "item"])
    met = rows.group_by("user").agg("item").sample(PEOPLE, seed=0)["item"].to_list()
    rng, pairs = np.random.default_rng(0), items.rows()
    target = pairs[0][0]
    own = [item for domain, item in pairs if domain == target]
    lines = [
        {
            "time": 1.7e9 + n * 60, "request_id": str(n), "release": "r", "route": "warm",
            "target": target, "k": 10, "history": [pairs[i] for i in history],
            "items": rng.choice(own, 10, replace=False).tolist(), "ranks": list(range(1, 11)),
            "scores": np.sort(rng.normal(size=10))[::-1].tolist(),
        }
        for n, history in enumerate(met)
    ]  # fmt: skip
    (root / "traffic").mkdir()
    (root / "traffic" / "requests.1.jsonl").write_bytes(
        b"".join(orjson.dumps(x) + b"\n" for x in lines)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, server(Path(home)) as around:
        root = Path(home) / "workspace"
        left = shutil.ignore_patterns("traffic", "releases", "state", ".bridgerec", "tmp")
        shutil.copytree(options.workspace.resolve(), root, ignore=left, symlinks=True)
        write_traffic(root)
        python, program = [sys.executable, "-c"], [sys.executable, "-m", "bridgerec.cli"]
        release = [*python, RELEASE.format(root=str(root))]
        plain = {
            "release": [release],
            "monitoring": [[*program, "monitor"]],
            "backfill": [[*program, "backfill"]],
            "retraining": [[*program, "intake"], [sys.executable, "-m", "dvc", "repro"], release],
        }

        def timed(commands: list[list[str]], anew: Path) -> Callable[[], float]:
            """The seconds of all; `anew` is what an earlier run left, which must not help."""

            def run() -> float:
                shutil.rmtree(anew, ignore_errors=True)
                return sum(seconds(command, root, around) for command in commands)

            return run

        print("| flow | plain, s | flow, s | more, s |\n| --- | --- | --- | --- |")
        for name, commands in plain.items():
            if options.only and name not in options.only:
                continue
            through = [*python, FLOW.format(name=name, root=str(root))]
            anew = root / ("artifacts/backfill" if name == "backfill" else "releases")
            seconds(through, root, around)  # the first time of both the flow and the server
            doors = {"plain": timed(commands, anew), "flow": timed([through], anew)}
            found = in_turn(options.runs, doors)
            gap = found["flow"] - found["plain"]
            print(
                f"| {name} | {found['plain']:.1f} | {found['flow']:.1f} | {gap:+.1f} |", flush=True
            )


if __name__ == "__main__":
    main()
