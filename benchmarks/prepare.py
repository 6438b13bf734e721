"""Prepare 10 million interactions: processor seconds and peak memory.

    python benchmarks/prepare.py [ROWS] [RUNS]

Writes Parquet tables of a skewed synthetic log, with ids as text, into a temporary workspace, and
runs the prepare stage in a process of its own; once with the log in time order, as logs are
written, and once shuffled.  Beside it: only reading the same columns with polars, the least that
any preparation costs, and a peer, the same steps by hand.  They take turns, RUNS times.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import yaml

PREPARE = """
import sys
from bridgerec.config import Workspace
from bridgerec.pipeline.stages import prepare
prepare(Workspace.open(sys.argv[1]), lambda text: None)
"""
READ = """
import sys
from pathlib import Path
import polars as pl
for path in sorted(Path(sys.argv[1]).glob("data/*/interactions.parquet")):
    pl.read_parquet(path)
"""

PEER = """
import sys
from pathlib import Path
import numpy as np
import polars as pl
tables = []
for domain in ("left", "right"):
    rows = pl.read_parquet(Path(sys.argv[1]) / "data" / domain / "interactions.parquet")
    tables.append(rows.with_columns(domain=pl.lit(domain)))
rows = pl.concat(tables).sort("timestamp")
weight = pl.when(pl.col("kind") == "purchase").then(3.0).otherwise(1.0)
rows = rows.group_by("user_id", "domain", "item_id", maintain_order=True).agg(
    pl.col("timestamp").first(), weight.sum().alias("weight")
)
user = rows["user_id"].cast(pl.Categorical).to_physical().to_numpy()
item = (rows["domain"] + ":" + rows["item_id"]).cast(pl.Categorical).to_physical().to_numpy()
time = rows["timestamp"].to_numpy()
kept = time < np.quantile(time, 0.8)
while True:
    people, things = np.bincount(user[kept]), np.bincount(item[kept])
    rest = np.flatnonzero(kept)
    few = (people[user[rest]] < 5) | (things[item[rest]] < 5)
    if not few.any():
        break
    kept[rest[few]] = False
order = np.lexsort((time, user))
user, item, time = user[order], item[order], time[order]
"""


def write(root: Path, rows: int, ordered: bool) -> None:
    """Two domains, half of the rows each; people and items follow a power law."""
    rng = np.random.default_rng(0)
    domains = {}
    for domain in ("left", "right"):
        n, people, items = rows // 2, rows // 25, rows // 100
        user = (people * rng.random(n) ** 2).astype(np.int64)
        item = (items * rng.random(n) ** 3).astype(np.int64)
        time = rng.integers(1_600_000_000, 1_700_000_000, n)
        folder = root / "data" / domain
        folder.mkdir(parents=True)
        pl.DataFrame(
            {
                "user_id": pl.Series(user).cast(pl.String),
                "item_id": pl.Series(item).cast(pl.String),
                "timestamp": np.sort(time) if ordered else time,
                "kind": np.array(["view", "purchase"])[rng.integers(0, 2, n)],
            }
        ).write_parquet(folder / "interactions.parquet")
        ids = pl.Series(np.arange(items)).cast(pl.String)
        pl.DataFrame({"item_id": ids, "title": "item " + ids}).write_parquet(
            folder / "items.parquet"
        )
        domains[domain] = {t: f"data/{domain}/{t}.parquet" for t in ("interactions", "items")}
    params = {
        "data": {"domains": domains},
        "prepare": {"event_weights": {"purchase": 3.0}, "k_core": {"user": 5, "item": 5}},
        "candidates": ["popularity"],
        "models": {"popularity": {"use": "bridgerec.models.popularity:Popularity"}},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def cost(code: str, root: Path, protocols: str = "temporal") -> tuple[float, float]:
    """Processor seconds and peak resident GB of one process."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["split"] = {"protocols": protocols.split("+")}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    report = f"{code}\nimport resource, json\nu = resource.getrusage(resource.RUSAGE_SELF)\n"
    report += "print(json.dumps([u.ru_utime + u.ru_stime, u.ru_maxrss / 1e6]))"
    done = subprocess.run(
        [sys.executable, "-c", report, str(root)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    every = "temporal+leave_last+cold_start"
    jobs: dict[str, tuple[str, ...]] = {
        "reading alone": (READ,),
        "peer, temporal": (PEER,),
        "prepare temporal": (PREPARE,),
        f"prepare {every}": (PREPARE, every),
    }
    print(f"{rows:,} interactions, {runs} runs")
    print(f"{'processor seconds':44} least median   most  peak GB")
    for ordered in (True, False):
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            write(root, rows, ordered)
            print("in time order" if ordered else "shuffled")
            taken: dict[str, list[tuple[float, float]]] = {job: [] for job in jobs}
            for _ in range(runs):
                for job, (code, *protocols) in jobs.items():
                    taken[job].append(cost(code, root, *protocols))
            for job, found in taken.items():
                seconds, memory = np.transpose(found)
                low, middle, high = np.quantile(seconds, [0, 0.5, 1])
                print(f"  {job:42} {low:5.2f}  {middle:5.2f}  {high:5.2f}  {memory.max():7.2f}")


if __name__ == "__main__":
    main()
