"""What re-ranking costs: each rule on a pool of 200 items, for answers of 50.

    python benchmarks/rules.py [--pool 200] [--k 50] [--size 384]

Items, vectors and histories are random.  Prints Markdown: processor milliseconds per answer (median
and 95 % quantile of 500), beside the similarities of all pairs of the pool alone, which MMR
needs.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from bridgerec.serving.boosts import Boost, BoostConfig, Freshness
from bridgerec.serving.columns import Columns
from bridgerec.serving.diversity import MMR, Calibrated, CategoryQuota
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.rules import Context, Reranker
from stages import table

ITEMS = 20_000


def catalogue(size: int, rng: np.random.Generator) -> Columns:
    """Random items: 140 categories of three levels, 9 brands, vectors of `size` dimensions."""
    vectors = rng.normal(size=(ITEMS, size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers, empty = range(ITEMS), [""] * ITEMS
    return Columns(
        domain=["shop"] * ITEMS,
        item_id=[f"i{i}" for i in numbers],
        title=empty,
        description=empty,
        category=[f"All > {i % 20} > {i % 7}" for i in numbers],
        brand=[f"b{i % 9}" for i in numbers],
        price=np.full(ITEMS, np.nan),
        born=rng.uniform(0, 1e9, ITEMS),
        vectors_of=vectors.__getitem__,
    )


def milliseconds(task: Callable[[], object]) -> tuple[float, float]:
    """Median and 95 % quantile of the processor time."""
    found = []
    for _ in range(500):
        start = time.process_time()
        task()
        found.append(1e3 * (time.process_time() - start))
    return float(np.median(found)), float(np.quantile(found, 0.95))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("pool", 200), ("k", 50), ("size", 384)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    columns = catalogue(options.size, rng)
    scores = np.sort(rng.normal(size=options.pool))[::-1].astype(np.float32)
    pool = Ranked(rng.permutation(ITEMS)[: options.pool], scores)
    context = Context(columns, rng.permutation(ITEMS)[:50], options.k, 10**9, 0.5)
    chain = [
        Boost(BoostConfig(brands=("b1",), add=1)), Freshness(), CategoryQuota(), Calibrated(),
        MMR(),
    ]  # fmt: skip
    assert columns.vectors_of is not None
    vectors = columns.vectors_of(pool.items)
    rows = [
        ["similarities alone", *map("{:.3f}".format, milliseconds(lambda: vectors @ vectors.T))]
    ]
    for rule in chain:
        reranker = Reranker([rule], columns, options.pool)
        measured = milliseconds(lambda r=reranker: r(pool, context))
        rows.append([type(rule).__name__, *map("{:.3f}".format, measured)])
    whole = Reranker(chain, columns, options.pool)
    rows.append(["all five", *map("{:.3f}".format, milliseconds(lambda: whole(pool, context)))])
    print(table(["rule", "median ms", "95 % ms"], rows))


if __name__ == "__main__":
    main()
