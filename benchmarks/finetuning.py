"""Validation NDCG@10 of models on vectors of the original and of fine-tuned encoders.

    python benchmarks/finetuning.py ORIGINAL FINETUNED … --models ease_text [--splits leave_last]

ORIGINAL and FINETUNED are workspaces with the same prepared data, embedded without and with
embed.finetune.  Each model (of ORIGINAL's params.yaml) is trained on each split with everybody's
vectors.  Prints Markdown: full ranking on the validation part, all people and those asked for at
least one item without a training row; differences are paired over people, with 95 % bootstrap
intervals.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.data.dataset import Cases, Catalogue, Split
from bridgerec.data.vectors import read_vectors
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.models.base import Candidate, build
from bridgerec.training.device import training_device


def ndcg(model: Candidate, cases: Cases) -> NDArray[np.float64]:
    rank = evaluate(model, cases, part="validation").rank
    return case_metrics(rank, cases.relevant.indptr, (10,))["ndcg@10"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original", type=Path)
    parser.add_argument("finetuned", type=Path, nargs="+")
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--splits", nargs="+", default=["leave_last", "temporal"])
    given = parser.parse_args()
    workspaces = [Workspace.open(path) for path in (given.original, *given.finetuned)]
    params = workspaces[0].params
    device = training_device(params.train.device)
    catalogue = Catalogue.read(workspaces[0].prepared / "items.parquet")
    vectors = [read_vectors(workspace, len(catalogue)) for workspace in workspaces]
    print("| model | split | target | people | n | original | encoder | fine-tuned | difference |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, chosen in ((m, s) for m in given.models for s in given.splits):
        split = Split.read(workspaces[0].prepared, chosen, catalogue)
        training = replace(split.training(), device=device)
        models = [build(name, params.models[name], params.seed) for _ in vectors]
        for model, found in zip(models, vectors, strict=True):
            model.train(replace(training, vectors=found))
        for target in split.targets:
            cases = split.cases("validation", target)
            before, *others = (ndcg(model, cases) for model in models)
            new = ~training.seen[cases.relevant.items]
            cold = np.bincount(cases.relevant.rows[new], minlength=len(cases)) > 0
            for workspace, after in zip(given.finetuned, others, strict=True):
                for people, member in (("all", np.ones(len(cases), dtype=bool)), ("cold", cold)):
                    if not member.any():
                        continue
                    a, b = after[member], before[member]
                    gap = Bootstrap(len(a), 1000, 0.95, params.seed).difference(a, b)
                    print(
                        f"| {name} | {chosen} | {target} | {people} | {len(a):,} | {b.mean():.4f} "
                        f"| {workspace.name} | {a.mean():.4f} "
                        f"| {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
