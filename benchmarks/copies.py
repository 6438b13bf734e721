"""Sequence with other sizes, and how much several copies of it add.

    python benchmarks/copies.py run WORKSPACE OUT [--device cuda] [--workers 15]
    python benchmarks/copies.py show OUT

WORKSPACE is what `bridgerec init` makes, prepared and embedded.  Every variant is trained as three
copies from each of three seeds, and people's NDCG@10 on validation (full ranking) is kept in OUT
for one, two and three copies together; what is there already is not trained again.  `show` prints
Markdown: means over seeds, and the difference to what `bridgerec init` writes with as many copies,
paired over people with its 95 % bootstrap interval.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Histories, Split
from bridgerec.data.vectors import read_vectors
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.models.ensemble import Ensemble, EnsembleConfig
from bridgerec.runtime import atomic_file
from stages import table

USUAL = "usual"
VARIANTS: dict[str, dict[str, Any]] = {
    USUAL: {},
    "feed-forward 4 times as wide": {"widening": 4},
    "feed-forward as wide as the states": {"widening": 1},
    "batches of 256": {"batch_size": 256, "learning_rate": 0.003},
    "batches of 256, feed-forward as wide as the states": {
        "batch_size": 256, "learning_rate": 0.003, "widening": 1,
    },
    "6 epochs": {"epochs": 6, "learning_rate": 0.003},
}  # fmt: skip
SPLITS = ("leave_last", "temporal")
COPIES, SEEDS = 3, 3


def remembered(
    score: Any, memory: dict[Any, NDArray[np.float32]], histories: Histories, target: str
) -> NDArray[np.float32]:
    """What a copy answered before: it is asked once for all the ensembles that it belongs to."""
    key = (target, histories.indptr.tobytes(), histories.items.tobytes())
    if key not in memory:
        memory[key] = score(histories, target)
    return memory[key].copy()


def train_and_rank(root: Path, name: str, split_name: str, seed: int, device: str) -> Any:
    """NDCG@10 per person, by "TARGET.COPIES"."""
    torch.set_num_threads(1)
    workspace = Workspace.open(root)
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    split = Split.read(workspace.prepared, split_name, catalogue)
    vectors = read_vectors(workspace, len(catalogue))
    of, options = "bridgerec.models.sequence:Sequence", {"embedding_size": 256, **VARIANTS[name]}
    config = EnsembleConfig(of=of, copies=COPIES, options=options)
    ensemble = Ensemble(config, workspace.params.seed + seed)
    ensemble.train(replace(split.training(), vectors=vectors, device=device))
    copies = list(ensemble.copies)
    for copy in copies:
        copy.score = partial(remembered, copy.score, {})  # type: ignore[method-assign]
    found = {}
    for target, number in product(split.targets, range(1, COPIES + 1)):
        ensemble.copies = copies[:number]
        cases = split.cases("validation", target)
        rank = evaluate(ensemble, cases, part="validation").rank.astype(np.int64)
        ndcg = case_metrics(rank, cases.relevant.indptr, (10,))["ndcg@10"]
        found[f"{target}.{number}"] = ndcg.astype(np.float32)
    return found


def run(root: Path, out: Path, device: str, workers: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=1) as pool:
        jobs = {}
        for split, seed, name in product(SPLITS, range(SEEDS), VARIANTS):
            path = out / f"{name}_{split}_{seed}.npz"
            if not path.exists():
                jobs[pool.submit(train_and_rank, root, name, split, seed, device)] = path
        start = time.perf_counter()
        for done in as_completed(jobs):
            with atomic_file(jobs[done]) as temporary, temporary.open("wb") as file:
                np.savez(file, **done.result())
            print(f"{jobs[done].stem}: {time.perf_counter() - start:.0f} s", flush=True)


def show(out: Path) -> None:
    def mean(name: str, split: str, key: str) -> NDArray[np.float64] | None:
        paths = [out / f"{name}_{split}_{seed}.npz" for seed in range(SEEDS)]
        if not all(path.exists() for path in paths):
            return None
        return np.stack([np.load(path)[key] for path in paths]).mean(0, dtype=np.float64)

    rows = []
    for split in SPLITS:
        keys = sorted({k for p in out.glob(f"{USUAL}_{split}_*.npz") for k in np.load(p).files})
        for key, name in product(keys, VARIANTS):
            own, usual = mean(name, split, key), mean(USUAL, split, key)
            if own is None or usual is None:
                continue
            target, copies = key.split(".")
            d = Bootstrap(len(own), 5000, 0.95, 0).difference(own, usual)
            gap = "" if name == USUAL else f"{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
            rows.append([split, target, copies, name, f"{own.mean():.4f}", gap])
    head = ["split", "target", "copies", "variant", "NDCG@10", "difference to usual"]
    print(table(head, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "show"))
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if len(options.folders) != (2 if options.what == "run" else 1):
        parser.error("run WORKSPACE OUT, or show OUT")
    if options.what == "run":
        workspace, out = options.folders
        run(workspace, out, options.device, options.workers)
    else:
        show(options.folders[0])


if __name__ == "__main__":
    main()
