"""Losses of alignment training, in torch."""

from typing import TYPE_CHECKING

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


def sampled_softmax(
    positive: "Tensor", negative: "Tensor", log_q: "Tensor", hit: "Tensor", weight: "Tensor"
) -> "Tensor":
    """Cross-entropy of the positive against shared negatives with logQ correction.

    Bengio & Senecal 2008; Yi et al. (RecSys 2019).  Shapes: `positive` (n,) and `negative`
    (n, m) are logits of distinct items; `log_q` (m,) is the log of how often each was expected
    to be drawn over how often it was (`draw`), so that the sum over negatives is an unbiased
    estimate of the sum over all items; `hit` (n, m) marks negatives that are the row's own
    positive and are left out; `weight` (n,) weighs the rows.
    """
    import torch

    logits = (negative - log_q).masked_fill(hit, float("-inf"))
    total = torch.logsumexp(torch.cat([positive[:, None], logits], dim=1), dim=1)
    return ((total - positive) * weight).sum() / weight.sum()


def info_nce(left: "Tensor", right: "Tensor", temperature: float) -> "Tensor":
    """Symmetric InfoNCE (van den Oord et al. 2018; CLIP): row i of `left` belongs to row i of
    `right`; both (n, size), unit length."""
    import torch
    import torch.nn.functional as F

    logits = left @ right.T / temperature
    labels = torch.arange(len(left))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
