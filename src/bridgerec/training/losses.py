"""Losses of alignment training, in torch."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def draw(
    share: NDArray[np.float64], n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Distinct places of `n` draws with probabilities `share` (items,), and their `log_q`."""
    found, times = np.unique(rng.choice(len(share), n, p=share), return_counts=True)
    return found, np.log(n * share[found] / times).astype(np.float32)


def alternatives(
    count: NDArray[np.int64], wanted: NDArray[np.integer[Any]], n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Items to choose from, rising: the wanted ones and `n` drawn by the root of their `count`
    (all with a count where they are no more than `n`); and what logQ adds to each one's logit as
    a negative, -inf for those that were not drawn."""
    seen = np.flatnonzero(count)
    log_q = np.zeros(len(seen), dtype=np.float32)
    if len(seen) > n:
        share = count[seen] ** 0.5
        drawn, log_q = draw(share / share.sum(), n, rng)
        seen = seen[drawn]
    items = np.union1d(seen, wanted).astype(np.int64)
    correction = np.full(len(items), -np.inf, dtype=np.float32)
    correction[np.searchsorted(items, seen)] = -log_q
    return items, correction


def set_softmax(
    logits: "Tensor", row: "Tensor", column: "Tensor", correction: "Tensor", weight: "Tensor"
) -> "Tensor":
    """Cross-entropy of each of a person's positives against what the person does not have.

    Shapes: `logits` (people, m) of `alternatives` with their `correction` (m,); positive number k
    is at (`row[k]`, `column[k]`) and weighs `weight[k]`.
    """
    import torch

    positive = logits[row, column]
    others = (logits + correction).index_put((row, column), torch.tensor(-torch.inf))
    every = torch.logaddexp(torch.logsumexp(others, 1)[row], positive)
    return ((every - positive) * weight).sum() / weight.sum()


def info_nce(left: "Tensor", right: "Tensor", temperature: float) -> "Tensor":
    """Symmetric InfoNCE (van den Oord et al. 2018; CLIP): row i of `left` belongs to row i of
    `right`; both (n, size), unit length."""
    import torch
    import torch.nn.functional as F

    logits = left @ right.T / temperature
    labels = torch.arange(len(left))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
