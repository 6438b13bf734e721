"""How good the recommendations are on a real data set: every candidate, split and segment.

    python benchmarks/accuracy.py WORKSPACE --data FOLDER [--seeds 3]   # make, run and print
    python benchmarks/accuracy.py WORKSPACE                             # print what was run

FOLDER holds `interactions.parquet` and `items.parquet` with a column `domain`.  The workspace is
what `bridgerec init` makes of them, with more seeds; its stages run one by one and are timed, a
finished one is not run again.  Prints Markdown: NDCG@10 and recall@10 by full ranking, sampled HR
and NDCG where one item is asked for, values on test with 95 % intervals over people, means over
seeds; the differences of the chosen candidate to all others, paired over people and adjusted by
Holm; the segments; and the processor seconds of training per split and seed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import yaml

Cells = dict[str, Any]
SEGMENTS = (
    "history_1_4", "history_5_9", "history_10_plus", "cold_start",
    "head_items", "mid_items", "tail_items", "cold_items",
)  # fmt: skip


def make(workspace: Path, data: Path, seeds: int) -> None:
    """`bridgerec init` for every domain of the data, with so many seeds."""
    tables = f"{data / 'interactions.parquet'},{data / 'items.parquet'}"
    domains = pl.scan_parquet(data / "items.parquet").select("domain").unique().collect()
    named = [f"--domain={d}={tables}" for d in sorted(domains["domain"])]
    subprocess.run(["bridgerec", "init", str(workspace), *named], check=True)
    path = workspace / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["evaluation"]["seeds"] = seeds
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def run(workspace: Path) -> None:
    """All stages but the packaging, each timed once in `timings.json`."""
    timings = workspace / "timings.json"
    seconds: dict[str, float] = json.loads(timings.read_text()) if timings.exists() else {}
    candidates = yaml.safe_load((workspace / "params.yaml").read_text())["candidates"]
    stages = ["validate", "prepare", "embed", *(f"train {c}" for c in candidates)]
    for stage in [*stages, "blend", "evaluate", "select"]:
        if stage in seconds:
            continue
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["bridgerec", "stage", *stage.split(), "-C", str(workspace)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seconds[stage] = round(used, 1)
        timings.write_text(json.dumps(seconds, indent=1))


def cell(found: Cells, metric: str) -> str:
    if metric not in found:
        return "–"
    c = found[metric]
    return f"{c['value']:.4f} [{c['low']:.4f}, {c['high']:.4f}]"


def table(head: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("| --- |" + " --- |" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def by_candidate(found: Cells, target: str, segment: str, metrics: list[str]) -> None:
    """One row per candidate, best first."""
    rows = {c: per[target][segment] for c, per in found.items() if segment in per.get(target, {})}
    names = sorted(rows, key=lambda c: -rows[c]["ndcg@10"]["value"])
    table(["candidate", *metrics], [[c, *(cell(rows[c], m) for m in metrics)] for c in names])


def differences(comparisons: list[Cells], split: str, target: str, chosen: str) -> None:
    rows = [
        [
            c["against"],
            f"{c['mean']:+.4f} [{c['low']:+.4f}, {c['high']:+.4f}]",
            f"{c['p_holm']:.3f}",
            f"{c['effect']:+.2f}",
        ]
        for c in comparisons
        if (c["split"], c["target"], c["candidate"]) == (split, target, chosen)
    ]
    table([f"{chosen} against", "NDCG@10, difference", "p (Holm)", "effect (d)"], rows)


def segments(found: Cells, target: str, counts: Cells) -> None:
    """Candidates by segments, NDCG@10 without intervals (they are in metrics.json)."""
    present = [s for s in SEGMENTS if counts.get(s)]
    head = ["candidate", *(f"{s} ({counts[s]:,})" for s in present)]
    rows = [
        [c, *(f"{per[target][s]['ndcg@10']['value']:.4f}" for s in present)]
        for c, per in found.items()
        if target in per
    ]
    table(head, rows)


def show(workspace: Path) -> None:
    reports = workspace / "reports"
    metrics = json.loads((reports / "evaluation" / "metrics.json").read_text())
    comparisons = json.loads((reports / "evaluation" / "comparisons.json").read_text())
    routes = json.loads((reports / "decision.json").read_text())["routes"]
    print("chosen on validation:", ", ".join(f"{r}: {c}" for r, c in routes.items()), "\n")
    for split, found in metrics["test"].items():
        chosen = routes["cold_start" if split.startswith("cold") else "warm"]
        for target in sorted({t for per in found.values() for t in per}):
            counts = metrics["info"]["people"]["test"][split][target]
            print(f"### {split}, {target} ({counts['all']:,} people)\n")
            shown = ["ndcg@10", "recall@10"]
            if split == "leave_last":
                shown += ["sampled999_hr@10", "sampled999_ndcg@10"]
            by_candidate(found, target, "all", shown)
            differences(comparisons, split, target, chosen)
            print("NDCG@10 by segment (people):\n")
            segments(found, target, counts)
    if (workspace / "timings.json").exists():
        seconds = json.loads((workspace / "timings.json").read_text())
        print("### Processor seconds of each stage, all splits and seeds\n")
        table(["stage", "seconds"], [[s, f"{t:,.0f}"] for s, t in seconds.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if options.data:
        if not options.workspace.exists():
            make(options.workspace, options.data.resolve(), options.seeds)
        run(options.workspace)
    elif not (options.workspace / "reports" / "decision.json").exists():
        sys.exit(f"{options.workspace} has no decision yet; name the data with --data.")
    show(options.workspace)


if __name__ == "__main__":
    main()
