"""Ranking metrics from the full rank of every relevant item."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bridgerec.data.dataset import Histories
from bridgerec.errors import ArtifactError
from bridgerec.evaluation.significance import Bootstrap

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
METRICS = ("precision", "recall", "f1", "ndcg", "hr", "mrr", "map")


def ranks(scores: NDArray[np.float32], seen: Histories, relevant: Histories) -> Ints:
    """1-based ranks of the relevant items, shape (total relevant,).

    `scores` is (batch, n_items); `seen` and `relevant` hold column numbers.  Seen items are
    taken out; ties count against the model: the i-th best relevant item of a row stands behind
    all other items that score at least as much, and behind the i better relevant ones.

    Raises:
        ArtifactError: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ArtifactError("a candidate gave scores that are not finite; train it again.")
    scores = scores.copy()
    scores[seen.rows, seen.items] = -np.inf
    own = scores[relevant.rows, relevant.items]
    scores[relevant.rows, relevant.items] = -np.inf  # relevant ones are counted apart
    result = np.empty(len(own), dtype=np.int64)
    for row in range(len(relevant)):
        part = slice(int(relevant.indptr[row]), int(relevant.indptr[row + 1]))
        mine = own[part]
        order = np.argsort(-mine, kind="stable")
        place = np.empty(len(mine), dtype=np.int64)
        place[order] = np.arange(len(mine))
        better = (scores[row][None] >= mine[:, None]).sum(1)
        result[part] = better + place + 1
    return result


def case_metrics(rank: Ints, indptr: Ints, ks: Sequence[int]) -> dict[str, Floats]:
    """Metrics of each case, shape (n_cases,), by name such as "ndcg@10".

    Case i owns `rank[indptr[i]:indptr[i + 1]]`, at least one.  NDCG has binary gains and the
    ideal of min(relevant, k) hits; MAP@k divides by min(relevant, k); F1 is per case.
    """
    cases = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((rank, cases))
    rank, start = rank[order], indptr[:-1]
    relevant = np.diff(indptr)
    hit_number = np.arange(len(rank)) - np.repeat(start, relevant) + 1
    result: dict[str, Floats] = {}
    for k in ks:
        inside = rank <= k
        hits = np.add.reduceat(inside, start).astype(np.float64)
        possible = np.minimum(relevant, k)
        precision, recall = hits / k, hits / relevant
        total = precision + recall
        gain = np.where(inside, 1 / np.log2(rank + 1.0), 0.0)
        ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
        first = rank[start]
        found = {
            "precision": precision,
            "recall": recall,
            "f1": np.divide(
                2 * precision * recall, total, out=np.zeros_like(total), where=total > 0
            ),
            "ndcg": np.add.reduceat(gain, start) / ideal[possible - 1],
            "hr": (hits > 0).astype(np.float64),
            "mrr": np.where(first <= k, 1 / first, 0.0),
            "map": np.add.reduceat(np.where(inside, hit_number / rank, 0.0), start) / possible,
        }
        result.update({f"{name}@{k}": values for name, values in found.items()})
    return result


def sampled_metrics(
    rank: Ints, pool: Ints, n_negatives: int, ks: Sequence[int]
) -> dict[str, Floats]:
    """Exact expectation of HR and NDCG of single items under sampled negatives, shape (n,).

    With `rank` r (n,) among the `pool` (n,) unseen items, r - 1 of them are better; `n_negatives`
    are drawn without replacement, and the number of better ones among these is hypergeometric.
    """
    keys, back = np.unique(np.stack([rank, pool]), axis=1, return_inverse=True)
    better, total = np.minimum(keys[0], keys[1]) - 1, np.maximum(keys[1] - 1, 1)
    draws = np.minimum(n_negatives, total)
    largest = max(ks)
    mass = _hypergeometric(largest, total[:, None], better[:, None], draws[:, None])
    result: dict[str, Floats] = {}
    discount = 1 / np.log2(np.arange(2, largest + 2))
    for k in ks:
        for name, value in {
            "hr": mass[:, :k].sum(1),
            "ndcg": mass[:, :k] @ discount[:k],
        }.items():
            result[f"sampled{n_negatives}_{name}@{k}"] = value[back.ravel()]
    return result


def _hypergeometric(n: int, total: Ints, better: Ints, draws: Ints) -> Floats:
    """P(j of `draws` from `total` are among the `better`) for j = 0..n-1; scipy's own is the
    same within rounding and fifty times slower."""
    table = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total.max(initial=1) + 1)))])

    def log_choose(a: Ints, b: Ints) -> Floats:
        possible = (b >= 0) & (b <= a)
        b = np.where(possible, b, 0)
        result: Floats = np.where(possible, table[a] - table[b] - table[a - b], -np.inf)
        return result

    j = np.arange(n)[None]
    ways = log_choose(better, j) + log_choose(total - better, draws - j)
    mass: Floats = np.exp(ways - log_choose(total, draws))
    return mass


def list_metrics(
    top: Ints, popularity: Floats, k: int, bootstrap: Bootstrap
) -> dict[str, tuple[float, float, float]]:
    """Coverage, Gini and novelty of lists `top` (n, >= k) of column numbers: value, low, high.

    Coverage is the share of the catalogue recommended to anybody; Gini 0 means all items are
    recommended equally often; novelty is the mean of -log2 of an item's training share.  A
    resample has fewer distinct people, hence less coverage: the resampled values are moved so
    that their mean is the value (at most 100 resamples).
    """
    n_items, top = len(popularity), top[:, :k]
    share = (popularity + 1) / (popularity + 1).sum()
    novelty = -np.log2(share)[top].mean(axis=1)
    weights = np.vstack([np.ones(len(top), dtype=np.float32), bootstrap.weights[:100]])
    entries = (
        np.ones(top.size, dtype=np.float32),
        top.ravel(),
        np.arange(0, top.size + 1, top.shape[1]),
    )
    shown = weights @ sparse.csr_array(entries, shape=(len(top), n_items))
    ordered = np.sort(shown, axis=1).astype(np.float64)
    position = 2 * np.arange(1, n_items + 1) - n_items - 1
    found = {
        "coverage": (shown > 0).mean(axis=1),
        "gini": ordered @ position / (n_items * np.maximum(ordered.sum(1), 1)),
        "novelty": (weights @ novelty) / weights.sum(1),
    }
    result = {}
    for name, values in found.items():
        low, high = np.quantile(values[1:], bootstrap.quantiles) + (values[0] - values[1:].mean())
        result[f"{name}@{k}"] = (float(values[0]), float(low), float(high))
    return result
