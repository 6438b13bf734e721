"""What the blend's second look adds to its mixture, on a trained workspace.

    python benchmarks/second_look.py WORKSPACE [--splits leave_last]

For every split and target where `bridgerec stage blend` kept a network: the blend as it is against
its mixture alone, on validation (cross-fitted) and on test, on the same people, with 95 % bootstrap
intervals.  Test is looked at to report, not to choose.
"""

import argparse
from copy import copy
from pathlib import Path

import numpy as np

from bridgerec.config import BLEND, Workspace
from bridgerec.data.dataset import Cases, Catalogue, Part, Split
from bridgerec.evaluation.metrics import case_metrics, sampled_metrics
from bridgerec.evaluation.protocol import ASKED
from bridgerec.evaluation.ranking import Ranking, rank_all
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.models.base import load
from bridgerec.models.blend import Blend
from bridgerec.models.second_look import SecondLook
from bridgerec.runtime import read_json
from stages import table

SHOWN = ("ndcg@10", "recall@10", "sampled999_hr@10", "sampled999_ndcg@10")
BATCH = 256


def figures(ranking: Ranking, cases: Cases, block: slice) -> dict[str, np.ndarray]:
    """Per person; sampled metrics where everybody has one item to be found, as on leave-last."""
    found = case_metrics(ranking.rank, cases.relevant.indptr, [10])
    if (cases.relevant.lengths == 1).all():
        pool = block.stop - block.start - cases.histories.within(block).lengths
        found |= sampled_metrics(ranking.rank, pool, 999, [10])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--splits", nargs="+", help="all, if not given")
    options = parser.parse_args()
    workspace = Workspace.open(options.workspace)
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    rows = []
    for name in options.splits or read_json(workspace.prepared / "splits.json"):
        blend = load(workspace.candidate(BLEND) / name / "seed-0")
        assert isinstance(blend, Blend)
        alone = copy(blend)
        alone.second = SecondLook(0)
        split = Split.read(workspace.prepared, name, catalogue)
        for target in blend.second.rerankers:
            for part in ASKED:
                rows += compare(blend, alone, split, target, part, workspace.params.seed)
    header = ["split", "part", "target (people)", "metric", "mixture", "second look", "difference"]
    print(table(header, rows))


def compare(
    blend: Blend, alone: Blend, split: Split, target: str, part: Part, seed: int
) -> list[list[str]]:
    cases = split.cases(part, target)
    rankings = rank_all([blend, alone], cases, 10, BATCH, part)
    with_it, without = (figures(ranking, cases, blend.block(target)) for ranking in rankings)
    bootstrap = Bootstrap(len(cases), 5000, 0.95, seed)
    rows = []
    for metric in (m for m in SHOWN if m in with_it):
        means = (f"{found[metric].mean():.4f}" for found in (without, with_it))
        gap = bootstrap.difference(with_it[metric], without[metric])
        difference = f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
        rows.append([split.name, part, f"{target} ({len(cases):,})", metric, *means, difference])
    return rows


if __name__ == "__main__":
    main()
