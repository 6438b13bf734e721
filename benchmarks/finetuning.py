"""Validation NDCG@10 of a model on vectors of the original and of a fine-tuned encoder.

    python benchmarks/finetuning.py ORIGINAL FINETUNED MODEL [SPLIT ...]

ORIGINAL and FINETUNED are workspaces with the same prepared data, embedded without and with
embed.finetune.  MODEL is trained on each SPLIT (default temporal leave_last) with either's
vectors.  Prints Markdown: full ranking on the validation part, all people and those asked for at
least one item without a training row; differences are paired over people, with 95 % bootstrap
intervals.
"""

import sys
from dataclasses import replace

import numpy as np

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.data.vectors import read_vectors
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.models.base import build


def main() -> None:
    workspaces = [Workspace.open(path) for path in sys.argv[1:3]]
    name, params = sys.argv[3], workspaces[0].params
    catalogue = Catalogue.read(workspaces[0].prepared / "items.parquet")
    vectors = [read_vectors(workspace, len(catalogue)) for workspace in workspaces]
    print("| split | target | people | n | original | fine-tuned | difference |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for chosen in sys.argv[4:] or ("temporal", "leave_last"):
        split = Split.read(workspaces[0].prepared, chosen, catalogue)
        training = split.training()
        models = [build(name, params.models[name], params.seed) for _ in vectors]
        for model, found in zip(models, vectors, strict=True):
            model.train(replace(training, vectors=found))
        for target in split.targets:
            cases = split.cases("validation", target)
            before, after = (
                case_metrics(
                    evaluate(model, cases, part="validation").rank, cases.relevant.indptr, (10,)
                )["ndcg@10"]
                for model in models
            )
            new = ~training.seen[cases.relevant.items]
            cold = np.bincount(cases.relevant.rows[new], minlength=len(cases)) > 0
            for people, member in (("all", np.ones(len(cases), dtype=bool)), ("cold", cold)):
                if not member.any():
                    continue
                a, b = after[member], before[member]
                gap = Bootstrap(len(a), 1000, 0.95, params.seed).difference(a, b)
                print(
                    f"| {chosen} | {target} | {people} | {len(a):,} | {b.mean():.4f} "
                    f"| {a.mean():.4f} | {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
