"""The network of `models.sequence`: what it reads of a history, and its layers."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from bridgerec.data.dataset import Histories, Images
from bridgerec.models.base import CandidateConfig
from bridgerec.models.transformer import CausalTransformer
from bridgerec.models.trends import Trends
from bridgerec.training.event_kinds import EventKinds, EventOptions, table_of
from bridgerec.training.fusion import FusionOptions, fusion
from bridgerec.training.precision import Precision
from bridgerec.training.prior import Prior
from bridgerec.training.robustness import RobustnessOptions

PAUSES = 32  # classes of the time since the entry before


class SequenceConfig(CandidateConfig, RobustnessOptions, FusionOptions, EventOptions):
    """`other_domain_share` of the places ask for a domain that does not come next, too;
    `history_dropout` of the people are asked for a domain of which they may show nothing.
    The feed-forward parts are `widening` times as wide as the states.  `half_lives` in days of the
    trends that the model knows (`models.trends`); `precision` of the matrix products in training.
    """

    embedding_size: int = Field(128, ge=4)
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    widening: int = Field(2, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    epochs: int = Field(8, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(0.002, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    max_history: int = Field(50, ge=2)
    negatives: int = Field(1024, ge=1)
    temperature: float = Field(0.1, gt=0)
    residual_dropout: float = Field(0.1, ge=0, lt=1)
    history_dropout: float = Field(0.1, ge=0, lt=1)
    other_domain_share: float = Field(0.3, ge=0, le=1)
    half_lives: tuple[Annotated[float, Field(gt=0)], ...] = (3.0, 15.0, 90.0)
    precision: Precision = "auto"


@dataclass(frozen=True)
class Told:
    """Of each entry (batch, length): its domain, the class of its pause, the row of the trends'
    tables at its time, what the trends said of it then (batch, length, half-lives), and, if the
    model is to know, the kind of event, -1 where it is not told."""

    kind: Tensor
    pause: Tensor
    moment: Tensor
    trends: Tensor
    event_kind: Tensor | None

    @classmethod
    def of(
        cls, rows: Histories, known: NDArray[np.int64], domain: NDArray[np.int64], trends: Trends,
        kinds: bool,
    ) -> "Told":  # fmt: skip
        """Of the entries `known` (`padded` from `rows`, any item at padding), in their `domain`; of
        `kinds` if so."""
        time = times(rows, known.shape[1])
        met = [
            torch.as_tensor(trends.of_entries(k, time.ravel(), known.ravel()))
            for k in range(len(trends.half_lives))
        ]
        return cls(
            torch.as_tensor(domain),
            torch.as_tensor(pauses(time)),
            torch.as_tensor(trends.at(time)),
            torch.stack(met, -1).view(*known.shape, -1) if met else torch.zeros(*known.shape, 0),
            torch.as_tensor(table_of(rows, known.shape)) if kinds else None,
        )


class Net(nn.Module):
    """Item tower, what else an entry tells, sequence, and what each domain has of its own."""

    def __init__(
        self, config: SequenceConfig, n_items: int, n_domains: int, width: int,
        images: Images | None = None, seed: int = 0, kinds: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        size, trends = config.embedding_size, len(config.half_lives)
        self.adaptor = nn.Linear(width, size, bias=False)
        self.residual = nn.Parameter(torch.zeros(n_items, size))
        self.kind = nn.Parameter(torch.randn(n_domains, size) * 0.1)
        self.pause = nn.Parameter(torch.zeros(PAUSES, size))
        self.trendy = nn.Parameter(torch.zeros(trends, size))
        self.sequence = CausalTransformer(
            size, config.layers, config.heads, config.dropout, config.widening
        )
        self.head = nn.Parameter(torch.eye(size).repeat(n_domains, 1, 1))
        self.prior = Prior(n_domains, trends, size)
        self.fusion = fusion(images, config, width, size, seed)
        self.events = EventKinds(kinds, n_domains, size) if kinds else None

    def content(self, vectors: Tensor, items: Tensor) -> Tensor:
        """What texts and pictures tell of the items numbered `items`, (n, size)."""
        found: Tensor = self.adaptor(vectors)
        return found if self.fusion is None else self.fusion(found, vectors, items)

    def entries(self, items: Tensor, told: "Told") -> Tensor:
        """What attention reads: (batch, length, size) from unit item vectors."""
        scaled = items * items.shape[2] ** 0.5
        found = scaled + self.kind[told.kind] + self.pause[told.pause] + told.trends @ self.trendy
        if self.events is None or told.event_kind is None:
            return found
        return found + self.events.entry[told.event_kind]

    def after(self, rows: Histories, items: Tensor, told: "Told") -> Tensor:
        """States after each row, (batch, size), from its entries' vectors `items` (batch, length,
        size) and what is `told` of them."""
        states = self.sequence(self.entries(items, told))
        found: Tensor = states[torch.arange(len(items)), torch.as_tensor(rows.lengths)]
        return found


def times(histories: Histories, length: int) -> NDArray[np.int64]:
    """Times of the entries, oldest first, (batch, length); the last one goes on after the end.

    Entries without a time are dated by the question.
    """
    time = np.zeros((len(histories), length), dtype=np.int64)
    if histories.timestamp is None:
        time[:] = histories.moment[:, None]
    else:
        first = np.repeat(histories.indptr[:-1], histories.lengths)
        time[histories.rows, np.arange(len(first)) - first] = histories.timestamp
        time = np.maximum.accumulate(time, axis=1)
    return time


def pauses(time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class of the time since the entry before: 0 for the first, 1 below a minute, then by
    powers of two."""
    minutes = np.diff(time, axis=1, prepend=time[:, :1]) / 60
    found = np.where(minutes < 1, 1, 2 + np.log2(np.maximum(minutes, 1)).astype(np.int64))
    found[:, :1] = 0
    return np.minimum(found, PAUSES - 1)
