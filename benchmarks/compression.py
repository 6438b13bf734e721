"""Size, scoring time and validation NDCG@10 of a model in smaller forms.

    python benchmarks/compression.py WORKSPACE MODEL [SPLIT]

MODEL is trained once on SPLIT (default leave_last) and then kept in each form.  Prints Markdown:
bytes of the stored arrays, milliseconds per person, NDCG@10 by full ranking on the validation part,
and the difference to the original, paired over people, with its 95 % bootstrap interval.
"""

import sys
import time
from dataclasses import replace

from bridgerec.config import Compression, Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.models.base import build
from bridgerec.models.compression import compress, expand
from bridgerec.pipeline.train import read_vectors

FORMS = (
    Compression(),
    Compression(precision="bfloat16"),
    Compression(precision="int8"),
    Compression(keep=0.5),
    Compression(precision="int8", keep=0.5),
    Compression(precision="int8", keep=0.2),
    Compression(precision="int8", keep=0.1),
)


def main() -> None:
    workspace, use = Workspace.open(sys.argv[1]), sys.argv[2]
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    chosen = sys.argv[3] if len(sys.argv) > 3 else "leave_last"
    split = Split.read(workspace.prepared, chosen, catalogue)
    params = workspace.params
    model = build(use, params.models[use], params.seed)
    model.train(replace(split.training(), vectors=read_vectors(workspace, len(catalogue))))
    arrays = model.arrays()
    print("| target | form | MB | ms per person | NDCG@10 | difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for target in split.targets:
        cases = split.cases("validation", target)
        bootstrap = Bootstrap(len(cases), 1000, 0.95, params.seed)
        original = None
        for form in FORMS:
            stored = compress(arrays, form)
            size = sum(array.nbytes for array in stored.values()) / 1e6
            model.restore(expand(stored))
            began = time.perf_counter()
            rank = evaluate(model, cases, part="validation").rank
            spent = (time.perf_counter() - began) / len(cases) * 1000
            found = case_metrics(rank, cases.relevant.indptr, (10,))["ndcg@10"]
            original = found if original is None else original
            gap = bootstrap.difference(found, original)
            name = f"{form.precision}, {form.keep:.0%} kept"
            print(
                f"| {target} | {name} | {size:.1f} | {spent:.2f} | {found.mean():.4f} "
                f"| {gap.mean:+.5f} [{gap.low:+.5f}, {gap.high:+.5f}] |",
                flush=True,
            )


if __name__ == "__main__":
    main()
