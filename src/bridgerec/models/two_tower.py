"""Semantic alignment: two towers on language-model vectors.

The item tower bends the frozen vectors (`training.item_tower`), the user tower sums a history by
recency and domain (`training.user_tower`).  At every place of a history the next item is asked for
among shared negatives of its domain (logQ-corrected softmax).  Some places see nothing of that
domain but all that the person did elsewhere: the cold-start road, which has a popularity weight of
its own.  Around it, each off at weight 0: contrasts between domains, items and augmented views
(`training.contrast`), and adversarial training.
"""

from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.config import Choice, Range, Space
from bridgerec.data.dataset import Histories, Images, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, under
from bridgerec.models.trends import Trends
from bridgerec.progress import track
from bridgerec.training.alignment import Alignment, AlignmentOptions, Towers
from bridgerec.training.device import learning
from bridgerec.training.fusion import FusionOptions, fusion
from bridgerec.training.graph import propagate
from bridgerec.training.item_tower import Adaptor, ItemTower
from bridgerec.training.optimize import OneCycle
from bridgerec.training.prior import Prior
from bridgerec.training.sequences import batches, moments, padded
from bridgerec.training.user_tower import UserTower


class TwoTowerConfig(CandidateConfig, AlignmentOptions, FusionOptions):
    """`embedding_size`: null keeps that of the vectors.  `propagation`: steps of averaging vectors
    over co-consumption.  `half_lives` in days of the trends that it knows (`models.trends`)."""

    embedding_size: int | None = Field(None, ge=2)
    adaptor: Adaptor = "linear"
    experts: int = Field(4, ge=2)
    residual_dropout: float = Field(0.3, ge=0, lt=1)
    propagation: int = Field(0, ge=0, le=3)
    recency: float = Field(0.8, gt=0, le=1)
    attention: bool = False
    half_lives: tuple[Annotated[float, Field(gt=0)], ...] = (3.0, 15.0, 90.0)
    epochs: int = Field(6, ge=1)
    batch_size: int = Field(256, ge=2)
    learning_rate: float = Field(0.001, gt=0)


class TwoTower(Candidate):
    """score = cosine(user, item) / temperature + what popularity and trend add."""

    config_class = TwoTowerConfig
    random = True
    uses_vectors = True
    slow = True
    space: ClassVar[Space] = {
        "embedding_size": Choice(choice=(None, 64, 128, 256)),
        "learning_rate": Range(low=0.0002, high=0.01, log=True),
        "temperature": Range(low=0.03, high=0.2, log=True),
        "recency": Range(low=0.5, high=1),
        "residual_dropout": Range(low=0, high=0.7),
        "history_dropout": Range(low=0, high=0.5),
    }
    effort = "epochs"

    def fit(self, training: Training) -> None:
        c, h = self.config, training.histories
        assert training.vectors is not None
        count = np.bincount(h.items, minlength=self.n_items)
        self.trends = Trends.fit(training, c.half_lives)
        self.log_popularity = torch.from_numpy(np.log1p(count).astype(np.float32))
        with learning(training.device, self.seed):
            vectors = torch.as_tensor(propagate(training.vectors, h, c.propagation))
            self.towers = self._towers(vectors.shape[1], self.n_items, training.images)
            tables = [torch.as_tensor(table) for table in self.trends.tables]
            task = Alignment(c, self.towers, vectors, self.offsets, count, tables)
            self._learn(task, h)
            self.towers.eval()
            with torch.no_grad():
                self.items = self.towers.item(vectors, torch.arange(self.n_items)).cpu()
        self.towers.cpu()

    def refresh(self, known: Training) -> None:
        count = np.bincount(known.histories.items, minlength=self.n_items)
        self.log_popularity = torch.from_numpy(np.log1p(count).astype(np.float32))
        self.trends = Trends.fit(known, self.config.half_lives)

    def _towers(self, width: int, n_items: int, images: Images | None = None) -> Towers:
        c, n_domains = self.config, len(self.domains)
        size = c.embedding_size or width
        look = fusion(images, c, width, size, self.seed)
        return Towers(
            ItemTower(width, size, n_items, c.adaptor, c.experts, c.residual_dropout, look),
            UserTower(size, n_domains, c.max_history, c.recency, c.attention),
            Prior(n_domains, len(c.half_lives), size),
        )

    def _learn(self, task: Alignment, histories: Histories) -> None:
        c, rng = self.config, np.random.default_rng(self.seed)
        histories = histories.take(np.flatnonzero(histories.lengths >= 2)).last(c.max_history)
        steps = c.epochs * -(-len(histories) // c.batch_size)
        eager = [self.towers.user.pull, *self.towers.prior.parameters()]
        cycle = OneCycle(self.towers, c.learning_rate, steps, eager)
        for _ in track(range(c.epochs), "epochs", inner=True):
            for rows in batches(len(histories), c.batch_size, rng):
                recent, timed = histories.take(rows), int(rng.random() < 0.5)
                when = self.trends.at(moments(recent, c.max_history, timed, rng))
                cycle.step(task.loss(recent, torch.as_tensor(when), timed, rng))

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        d, block = self.domains.index(target), self.block(target)
        table = torch.from_numpy(padded(histories, self.config.max_history)[0])
        with torch.inference_mode():
            real, kind = table >= 0, torch.from_numpy(self.domain_of(table.numpy()))
            entries = self.items[table.clamp(min=0)] * real[..., None]
            asked = torch.full((len(table), 1), d)
            users = self.towers.user(entries, kind.clamp(min=0), real[:, None], asked)[:, 0]
            scores = users @ self.items[block].T / self.config.temperature
            timed, warm = int(histories.asked is not None), (kind == d).any(1)
            weights = self.towers.prior.trend[timed, d].numpy()
            lift = torch.from_numpy(self.trends.lift(weights, histories.moment, block))
            lift = lift * warm[:, None]
            popularity = self.log_popularity[None, block]
            scores += self.towers.prior(d, timed, users, warm, popularity, lift)
        return np.asarray(scores.numpy(), dtype=np.float32)

    def arrays(self) -> Arrays:
        state = self.towers.state_dict()
        known = {k: v for k, v in state.items() if not k.startswith("item.")}
        both = {**known, "items": self.items, "log_popularity": self.log_popularity}
        trends = {f"trends/{name}": array for name, array in self.trends.arrays().items()}
        return {**{name: tensor.numpy() for name, tensor in both.items()}, **trends}

    def restore(self, arrays: Arrays) -> None:
        self.trends = Trends.of(under(arrays, "trends/"))
        tensors = {n: torch.from_numpy(a) for n, a in arrays.items() if not n.startswith("trends/")}
        self.items = tensors.pop("items")
        self.log_popularity = tensors.pop("log_popularity")
        self.towers = self._towers(self.items.shape[1], 0)  # the items are finished
        self.towers.load_state_dict(tensors, strict=False)
        self.towers.eval()
