"""Training of bridges: networks that carry a person's factors from one domain into another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from bridgerec.data.dataset import Histories
from bridgerec.models.base import CandidateConfig
from bridgerec.progress import track
from bridgerec.training.losses import alternatives, set_softmax
from bridgerec.training.repeatable import repeatable
from bridgerec.training.sequences import batches


class BridgeConfig(CandidateConfig):
    """`epochs` counts passes of every single bridge over the people who teach it; the
    factorisation has `iterations` of its own.  `negatives`: with as many target items or fewer
    the softmax of the ranking loss is the full one.  With that loss a few epochs are enough."""

    epochs: int = Field(40, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(0.003, gt=0)
    weight_decay: float = Field(1.0, ge=0)
    negatives: int = Field(1024, ge=1)


@dataclass(frozen=True)
class Lesson:
    """What the people of two domains teach: their factors there (n, size), the target items they
    have (n rows of local indices) and the factors of all the target's items (items, size)."""

    source: Tensor
    target: Tensor
    wanted: Histories
    items: Tensor

    def scaled(self) -> tuple["Lesson", float, float]:
        """The same with factors of mean square 1, and by what source and target were divided;
        the products of target and item factors stay what they are."""
        s, t = (float(u.pow(2).mean().sqrt().clamp(min=1e-6)) for u in (self.source, self.target))
        return Lesson(self.source / s, self.target / t, self.wanted, self.items * t), s, t


def learn(
    net: nn.Module,
    given: Sequence[Tensor],
    lesson: Lesson,
    config: BridgeConfig,
    mapping_weight: float,
    ranking_weight: float,
    seed: int,
) -> None:
    """Train `net(*given)` -> (n, size) towards the people's target factors and target items.

    The mapping loss is the squared error on factors, which should be `scaled`; the ranking loss a
    softmax over target items with a learned temperature and logQ correction.
    """
    rng = np.random.default_rng(seed)
    count = np.bincount(lesson.wanted.items, minlength=len(lesson.items))
    sharpness = nn.Parameter(torch.tensor(3.0))
    steps = config.epochs * -(-len(lesson.source) // config.batch_size)
    groups: list[dict[str, Any]] = [
        {"params": list(net.parameters())},
        {"params": [sharpness], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, max(steps, 2))
    with repeatable():
        for _ in track(range(config.epochs), "epochs", inner=True):
            for rows in batches(len(lesson.source), config.batch_size, rng):
                mapped = net(*(part[rows] for part in given))
                loss = torch.zeros(())
                if mapping_weight > 0:
                    loss = loss + mapping_weight * F.mse_loss(mapped, lesson.target[rows])
                if ranking_weight > 0:
                    wanted = lesson.wanted.take(rows)
                    ranking = _ranking(
                        mapped * sharpness.exp(), wanted, lesson.items, count, config.negatives, rng
                    )
                    loss = loss + ranking_weight * ranking
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()


def _ranking(
    mapped: Tensor,
    wanted: Histories,
    items: Tensor,
    count: NDArray[np.int64],
    negatives: int,
    rng: np.random.Generator,
) -> Tensor:
    number, correction = alternatives(count, wanted.items, negatives, rng)
    place = np.searchsorted(number, wanted.items)
    # everybody counts alike, however much they have
    weight = wanted.strength / wanted.lengths[wanted.rows].astype(np.float32)
    parts = (torch.from_numpy(part) for part in (wanted.rows, place, correction, weight))
    return set_softmax(mapped @ items[torch.from_numpy(number)].T, *parts)
