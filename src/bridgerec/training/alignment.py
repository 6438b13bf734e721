"""What the two towers are trained for: the next item of a history, and agreement around it."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from bridgerec.data.dataset import Histories
from bridgerec.training.adversarial import adversarial
from bridgerec.training.augment import augment
from bridgerec.training.contrast import between_domains, between_items, between_views
from bridgerec.training.item_tower import ItemTower
from bridgerec.training.losses import draw
from bridgerec.training.prior import Prior
from bridgerec.training.robustness import RobustnessOptions
from bridgerec.training.sequences import padded
from bridgerec.training.user_tower import UserTower


class AlignmentOptions(RobustnessOptions):
    """`history_dropout`: share of places that see nothing of the domain asked about.  The weights
    are relative to the loss of the next item, 0 is off: `person_weight` a person's views in two
    domains, `item_weight` items of two domains that one person met."""

    max_history: int = Field(24, ge=2)
    negatives: int = Field(512, ge=1)
    temperature: float = Field(0.07, gt=0)
    history_dropout: float = Field(0.1, ge=0, lt=1)
    person_weight: float = Field(0.0, ge=0)
    item_weight: float = Field(0.0, ge=0)


class Towers(nn.Module):
    """What is learned."""

    def __init__(self, item: ItemTower, user: UserTower, prior: Prior) -> None:
        super().__init__()
        self.item, self.user, self.prior = item, user, prior


@dataclass(frozen=True)
class Alignment:
    """`vectors` (n_items, width) are frozen; `offsets` where each domain's items begin; `count`
    (n_items,) of training rows; `trends` holds a table (moments, n_items) per half-life."""

    options: AlignmentOptions
    towers: Towers
    vectors: Tensor
    offsets: NDArray[np.int64]
    count: NDArray[np.int64]
    trends: list[Tensor]

    def loss(
        self, histories: Histories, moment: Tensor, timed: int, rng: np.random.Generator
    ) -> Tensor:
        """Of a batch.  `moment` (batch, longest), laid out as `padded` does, says in which row of
        the trends' tables each place is asked for, and `timed` whether at a time of its own."""
        o, length = self.options, moment.shape[1]
        table, strength = (torch.as_tensor(part) for part in padded(histories, length))
        changed = [
            augment(histories, o.augmentation, rng) for _ in range(2 if o.view_weight else 0)
        ]
        views = [torch.as_tensor(padded(view, length)[0]) for view in changed]
        negatives = [self._negatives(d, rng) for d in range(len(self.offsets) - 1)]
        used = torch.unique(torch.cat([table[table >= 0], *(number for number, _ in negatives)]))
        questions = self._questions(table, strength, moment)

        def loss_of(items: Tensor) -> Tensor:
            return self._next_item(_Lookup(used, items), questions, timed, negatives)

        items = self.towers.item(self.vectors[used], used)
        loss = adversarial(loss_of, items, o.adversarial_epsilon, o.adversarial_weight)
        found, kind, user = _Lookup(used, items), questions.kind, self.towers.user
        if o.person_weight:
            apart = between_domains(user, found(table), kind, o.temperature)
            loss = loss + o.person_weight * apart
        if o.item_weight:
            loss = loss + o.item_weight * between_items(found(table), kind, o.temperature)
        if o.view_weight:
            sides = [(found(view), self._kind(view)) for view in views]
            loss = loss + o.view_weight * between_views(user, sides, o.temperature)
        return loss

    def _kind(self, table: Tensor) -> Tensor:
        """The domain's number, -1 at padding."""
        return torch.bucketize(table, torch.as_tensor(self.offsets), right=True) - 1

    def _negatives(self, domain: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Distinct seen items of a domain in rising order, and their `log_q`."""
        start, stop = self.offsets[domain : domain + 2]
        seen = start + np.flatnonzero(self.count[start:stop])
        if len(seen) <= self.options.negatives:  # the full softmax
            return torch.as_tensor(seen), torch.zeros(len(seen))
        share = self.count[seen] ** 0.75
        places, log_q = draw(share / share.sum(), self.options.negatives, rng)
        return torch.as_tensor(seen[places]), torch.as_tensor(log_q)

    def _questions(self, table: Tensor, strength: Tensor, moment: Tensor) -> "_Questions":
        kind = self._kind(table)
        real = kind >= 0
        other = kind[:, :, None] != kind[:, None, :]
        before = torch.ones(kind.shape[1], kind.shape[1]).tril(-1).bool()
        cut = torch.rand(kind.shape)[..., None] < self.options.history_dropout
        visible = torch.where(cut, other, before) & real[:, None, :] & real[:, :, None]
        warm = (visible & ~other).any(2)
        return _Questions(table, kind, strength, moment, visible, warm)

    def _next_item(
        self, find: "_Lookup", q: "_Questions", timed: int, negatives: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        t, prior = self.options.temperature, self.towers.prior
        entries, popular = find(q.table), torch.as_tensor(np.log1p(self.count)).float()
        kind = q.kind.clamp(min=0)
        users = self.towers.user(entries, kind, q.visible, kind)
        total, weights = torch.zeros(()), torch.zeros(())
        for d, (number, log_q) in enumerate(negatives):
            asked = q.visible.any(2) & (q.kind == d)
            target, then, user, warm = (x[asked] for x in (q.table, q.moment, users, q.warm))
            # what a new person takes up is less of the day
            lift = self._lift(d, timed, then[:, None], target[:, None]) * warm[:, None]
            own = prior(d, timed, user, warm, popular[target, None], lift)[:, 0]
            right = (user * entries[asked]).sum(1) / t + own
            when, which = torch.unique(then, return_inverse=True)
            lift = self._lift(d, timed, when[:, None], number[None])[which] * warm[:, None]
            others = prior(d, timed, user, warm, popular[number][None], lift)
            wrong = user @ find(number).T / t + others - log_q
            wrong = wrong.masked_fill(number == target[:, None], -torch.inf)
            every = torch.logaddexp(torch.logsumexp(wrong, 1), right)
            told = q.strength[asked]
            total, weights = total + ((every - right) * told).sum(), weights + told.sum()
        return total / weights.clamp(min=1e-9)

    def _lift(self, d: int, timed: int, when: Tensor, items: Tensor) -> Tensor:
        if not self.trends:
            return torch.zeros(len(when), 1)
        found = torch.stack([table[when, items] for table in self.trends], -1)
        return self.towers.prior.lift(d, timed, found)


@dataclass(frozen=True)
class _Questions:
    """One per place (batch, length): the item there, from what is `visible` (batch, length,
    length); `warm` where that holds something of the item's domain."""

    table: Tensor
    kind: Tensor
    strength: Tensor
    moment: Tensor
    visible: Tensor
    warm: Tensor


@dataclass(frozen=True)
class _Lookup:
    """Item numbers, which must be in `used` (rising) or -1, to `vectors` (used, size) or zeros."""

    used: Tensor
    vectors: Tensor

    def __call__(self, numbers: Tensor) -> Tensor:
        place = torch.searchsorted(self.used, numbers.clamp(min=0)).clamp(max=len(self.used) - 1)
        return F.embedding(place, self.vectors) * (numbers >= 0)[..., None]
