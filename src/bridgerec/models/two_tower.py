"""Semantic alignment: two towers on language-model vectors.

The item tower bends the frozen vectors (`training.item_tower`), the user tower sums a history by
recency and domain (`training.user_tower`).  At every place of a history the next item is asked for
among shared negatives of its domain (logQ-corrected softmax).  Some places see nothing of that
domain but all that the person did elsewhere: the cold-start road, which has a popularity weight of
its own.  Around it, each off at weight 0: contrasts between domains, items and augmented views
(`training.contrast`), and adversarial training.
"""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.config import Choice, Range, Space
from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig
from bridgerec.training.alignment import Alignment, AlignmentOptions, Towers
from bridgerec.training.graph import propagate
from bridgerec.training.item_tower import Adaptor, ItemTower
from bridgerec.training.optimize import OneCycle
from bridgerec.training.repeatable import repeatable
from bridgerec.training.sequences import batches, padded
from bridgerec.training.trend import Prior, Trend
from bridgerec.training.user_tower import UserTower


class TwoTowerConfig(CandidateConfig, AlignmentOptions):
    """`embedding_size`: null keeps that of the vectors.  `propagation`: steps of averaging vectors
    over co-consumption.  `trend_half_life_days`: null leaves out what is popular at the moment."""

    embedding_size: int | None = Field(None, ge=2)
    adaptor: Adaptor = "linear"
    experts: int = Field(4, ge=2)
    residual_dropout: float = Field(0.3, ge=0, lt=1)
    propagation: int = Field(0, ge=0, le=3)
    recency: float = Field(0.8, gt=0, le=1)
    attention: bool = False
    trend_half_life_days: float | None = Field(30.0, gt=0)
    epochs: int = Field(6, ge=1)
    batch_size: int = Field(256, ge=2)
    learning_rate: float = Field(0.001, gt=0)


class TwoTower(Candidate):
    """score = cosine(user, item) / temperature + what popularity and trend add."""

    config_class = TwoTowerConfig
    random = True
    uses_vectors = True
    space: ClassVar[Space] = {
        "embedding_size": Choice(choice=(None, 64, 128, 256)),
        "learning_rate": Range(low=0.0002, high=0.01, log=True),
        "temperature": Range(low=0.03, high=0.2, log=True),
        "recency": Range(low=0.5, high=1),
        "residual_dropout": Range(low=0, high=0.7),
        "history_dropout": Range(low=0, high=0.5),
    }
    effort = "epochs"

    @repeatable()
    def fit(self, training: Training) -> None:
        c, h = self.config, training.histories
        assert training.vectors is not None
        vectors = torch.from_numpy(propagate(training.vectors, h, c.propagation))
        count = np.bincount(h.items, minlength=self.n_items)
        trend = Trend.of(training, c.trend_half_life_days)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.towers = self._towers(vectors.shape[1], self.n_items)
            task = Alignment(
                c, self.towers, vectors, self.offsets, count, torch.from_numpy(trend.table)
            )
            self._learn(task, h, trend.moment)
        self.towers.eval()
        self.log_popularity = torch.from_numpy(np.log1p(count).astype(np.float32))
        self.log_trend = torch.from_numpy(trend.table[-1].copy())
        with torch.no_grad():
            self.items = self.towers.item(vectors, torch.arange(self.n_items))

    def _towers(self, width: int, n_items: int) -> Towers:
        c, n_domains = self.config, len(self.domains)
        size = c.embedding_size or width
        return Towers(
            ItemTower(width, size, n_items, c.adaptor, c.experts, c.residual_dropout),
            UserTower(size, n_domains, c.max_history, c.recency, c.attention),
            Prior(n_domains),
        )

    def _learn(self, task: Alignment, histories: Histories, moment: NDArray[np.int64]) -> None:
        c, rng = self.config, np.random.default_rng(self.seed)
        long = np.flatnonzero(histories.lengths >= 2)
        steps = c.epochs * -(-len(long) // c.batch_size)
        eager = [self.towers.user.pull, *self.towers.prior.parameters()]
        cycle = OneCycle(self.towers, c.learning_rate, steps, eager)
        numbers = np.arange(len(histories.items), dtype=np.int32)
        for _ in range(c.epochs):
            for rows in batches(len(long), c.batch_size, rng):
                recent = histories.take(long[rows]).last(c.max_history)
                place = padded(replace(histories, items=numbers).take(long[rows]), c.max_history)[0]
                then = torch.from_numpy(np.where(place >= 0, moment[place], 0))
                cycle.step(task.loss(recent, then, rng))

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        d, block = self.domains.index(target), self.block(target)
        table = torch.from_numpy(padded(histories, self.config.max_history)[0])
        with torch.inference_mode():
            real, kind = table >= 0, torch.from_numpy(self.domain_of(table.numpy()))
            entries = self.items[table.clamp(min=0)] * real[..., None]
            asked = torch.full((len(table), 1), d)
            users = self.towers.user(entries, kind.clamp(min=0), real[:, None], asked)[:, 0]
            scores = users @ self.items[block].T / self.config.temperature
            scores += self.towers.prior(
                d, (kind == d).any(1), self.log_popularity[block], self.log_trend[block]
            )
        return np.asarray(scores.numpy(), dtype=np.float32)

    def arrays(self) -> Arrays:
        state = self.towers.state_dict()
        known = {k: v for k, v in state.items() if not k.startswith("item.")}
        more = {k: getattr(self, k) for k in ("items", "log_popularity", "log_trend")}
        return {name: tensor.numpy() for name, tensor in {**known, **more}.items()}

    def restore(self, arrays: Arrays) -> None:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self.items = tensors.pop("items")
        self.log_popularity = tensors.pop("log_popularity")
        self.log_trend = tensors.pop("log_trend")
        self.towers = self._towers(self.items.shape[1], 0)  # the items are finished
        self.towers.load_state_dict(tensors, strict=False)
        self.towers.eval()
