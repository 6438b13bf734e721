"""The evaluation of a workspace as a Markdown table: NDCG@10 on test, with intervals.

python benchmarks/table.py WORKSPACE [METRIC]
"""

import json
import sys
from pathlib import Path


def main() -> None:
    metric = sys.argv[2] if len(sys.argv) > 2 else "ndcg@10"
    path = Path(sys.argv[1]) / "reports" / "evaluation" / "metrics.json"
    for split, candidates in json.loads(path.read_text())["test"].items():
        targets = sorted({t for found in candidates.values() for t in found})
        print(f"\n**{split}**, {metric}\n")
        print("| candidate | " + " | ".join(targets) + " |")
        print("| --- |" + " --- |" * len(targets))
        rows = {
            name: [found[t]["all"][metric] for t in targets] for name, found in candidates.items()
        }
        for name, cells in sorted(rows.items(), key=lambda r: -sum(c["value"] for c in r[1])):
            shown = [f"{c['value']:.4f} [{c['low']:.4f}, {c['high']:.4f}]" for c in cells]
            print(f"| {name} | " + " | ".join(shown) + " |")


if __name__ == "__main__":
    main()
