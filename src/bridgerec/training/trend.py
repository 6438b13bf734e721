"""How popular each item was at each moment of the training period, and how much that counts."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bridgerec.data.dataset import Training


@dataclass(frozen=True)
class Trend:
    """`table` (moments + 1, items): log(1 + fading count) at each moment, the last one at the end
    of the training period; `moment` (rows,): the moment of each training row.

    Time is cut where equally many rows lie between two cuts.  A moment sees the rows before its
    cut, each halved once per half-life, so nothing of the future.
    """

    table: NDArray[np.float32]
    moment: NDArray[np.int64]

    @classmethod
    def of(cls, training: Training, half_life_days: float | None, moments: int = 64) -> "Trend":
        """All zeros without a half-life or without times."""
        items, seconds = training.histories.items, training.histories.timestamp
        n_items = len(training.catalogue)
        if seconds is None or half_life_days is None:
            return cls(np.zeros((1, n_items), np.float32), np.zeros(len(items), np.int64))
        cuts = np.unique(
            np.quantile(seconds, np.linspace(0, 1, moments, endpoint=False), method="lower")
        )
        moment = np.searchsorted(cuts, seconds, side="right") - 1
        ends = np.append(cuts, seconds.max())
        table = np.zeros((len(ends), n_items), dtype=np.float32)
        state, rate = np.zeros(n_items), np.log(2) / (half_life_days * 86400)
        order = np.argsort(moment, kind="stable")
        pieces = np.split(order, np.searchsorted(moment[order], np.arange(1, len(cuts))))
        for number, rows in enumerate(pieces):
            state *= np.exp(rate * (ends[number] - ends[number + 1]))
            fading = np.exp(rate * (seconds[rows] - ends[number + 1]))
            state += np.bincount(items[rows], fading, minlength=n_items)
            table[number + 1] = np.log1p(state)
        return cls(table, moment)


class Prior(nn.Module):
    """What is added to a score whoever asks: learned weights of log popularity, one per domain for
    people who are new there (cold) and one for the others (warm), and of the trend (warm alone:
    what a new person takes up is less of the day)."""

    def __init__(self, domains: int) -> None:
        super().__init__()
        self.popular = nn.Parameter(torch.full((domains, 2), 0.5))
        self.trend = nn.Parameter(torch.full((domains,), 0.5))

    def forward(self, domain: int, warm: Tensor, popularity: Tensor, trend: Tensor) -> Tensor:
        """`warm` (n,) bool, `popularity` and `trend` (n or 1, m): shape (n, m)."""
        weight = self.popular[domain][warm.long()][:, None]
        return weight * popularity + (self.trend[domain] * warm)[:, None] * trend
