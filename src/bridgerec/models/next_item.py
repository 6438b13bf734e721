"""How `models.sequence` learns: the next item of each domain, after every place of a history.

The loss is the cross-entropy over all items of the domain that somebody met, or over
logQ-corrected negatives that a batch shares, weighed by the strength of what happened; beside it,
if asked for, the agreement of two augmented views, adversarial item vectors, and what will happen
to the item.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bridgerec.data.dataset import Histories
from bridgerec.models.sequence_net import Net, SequenceConfig, Told, times
from bridgerec.models.trends import Trends
from bridgerec.progress import track
from bridgerec.training.adversarial import adversarial
from bridgerec.training.augment import augment
from bridgerec.training.event_kinds import HIDDEN, table_of
from bridgerec.training.losses import draw, info_nce
from bridgerec.training.precision import mixed_precision
from bridgerec.training.sequences import batches, padded
from bridgerec.training.shared_softmax import Shared, SharedSoftmax


@dataclass
class NextItem:
    """The network, and what it learns from: `vectors` (items, width), how often each item was met
    (`count`), its `trends`, and the `blocks` of item numbers, one per domain."""

    config: SequenceConfig
    net: Net
    vectors: Tensor
    count: NDArray[np.int64]
    trends: Trends
    blocks: list[slice]
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.log_popularity = torch.as_tensor(np.log1p(self.count).astype(np.float32))
        # by item, so that those of a batch are read in long rows
        tables = (np.ascontiguousarray(table.T) for table in self.trends.tables)
        self.tables = [torch.as_tensor(table) for table in tables]

    def learn(self, recent: Histories) -> None:
        """Train on histories that are no longer than they may be."""
        c, rng = self.config, self.rng
        recent = recent.take(np.flatnonzero(recent.lengths >= 2))
        named = dict(self.net.named_parameters())
        decayed = [
            n for n in named if n == "residual" or (n.endswith("weight") and named[n].ndim == 2)
        ]
        groups: list[dict[str, Any]] = [
            {"params": [named[n] for n in decayed], "weight_decay": c.weight_decay},
            {"params": [p for n, p in named.items() if n not in decayed], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=c.learning_rate, fused=True)
        steps = c.epochs * -(-len(recent) // c.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, c.learning_rate, max(steps, 2), pct_start=0.1
        )
        self.net.train()
        for _ in track(range(c.epochs), "epochs", inner=True):
            for rows in batches(len(recent), c.batch_size, rng, recent.lengths):
                with mixed_precision(c.precision):
                    loss = self._loss(recent.take(rows))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()

    def _negatives(self, d: int) -> tuple[Tensor, Tensor]:
        """Distinct seen items of a domain in rising order, and their `log_q`."""
        block, n = self.blocks[d], self.config.negatives
        seen = block.start + np.flatnonzero(self.count[block])
        if len(seen) <= n:  # the full softmax
            return torch.as_tensor(seen), torch.zeros(len(seen))
        share = self.count[seen] ** 0.75
        places, log_q = draw(share / share.sum(), n, self.rng)
        return torch.as_tensor(seen[places]), torch.as_tensor(log_q)

    def _loss(self, rows: Histories) -> Tensor:
        c, rng, vectors = self.config, self.rng, self.vectors
        cells, weights = padded(rows)
        table, strength = torch.as_tensor(cells), torch.as_tensor(weights)
        told = self._told(rows, cells)
        happened = torch.as_tensor(table_of(rows, table.shape))
        if told.event_kind is not None:
            silent = torch.as_tensor(rng.random((len(table), 1)) < HIDDEN)
            told = replace(told, event_kind=torch.where(silent, -1, told.event_kind))
        timed = int(rng.random() < 0.5)
        moment = torch.as_tensor(self._moments(times(rows, table.shape[1]), timed))
        negatives = [self._negatives(d) for d in range(len(self.blocks))]
        pieces = [table.clamp(min=0).flatten(), *(items for items, _ in negatives)]
        used, place = torch.unique(torch.cat(pieces), return_inverse=True)
        keep = torch.rand(len(used), 1) >= c.residual_dropout
        residual = self.net.residual.index_select(0, used)
        own = self.net.content(vectors.index_select(0, used), used) + residual * keep
        # some people are asked for one domain of which attention sees nothing
        shut = torch.as_tensor(rng.integers(0, len(self.blocks), len(table)))
        shut = torch.where(torch.as_tensor(rng.random(len(table)) < c.history_dropout), shut, -1)
        views = [augment(rows, c.augmentation, rng) for _ in range(2 if c.view_weight else 0)]
        drawn = _Drawn(table, strength, told, timed, moment, negatives, used, place, shut, happened)
        items = F.normalize(own, dim=1)
        loss = adversarial(
            lambda moved: self._next_item(moved, drawn),
            items, c.adversarial_epsilon, c.adversarial_weight,
        )  # fmt: skip
        return loss + c.view_weight * self._agreement(views, used, items) if views else loss

    def _agreement(self, views: list[Histories], used: Tensor, items: Tensor) -> Tensor:
        """InfoNCE of the states after two views of the same people; `items` are those `used`."""
        after = []
        for view in views:
            cells, _ = padded(view)
            own = items[torch.searchsorted(used, torch.as_tensor(cells).clamp(min=0))]
            after.append(F.normalize(self.net.after(view, own, self._told(view, cells)), dim=1))
        return info_nce(after[0], after[1], self.config.temperature)

    def _next_item(self, items: Tensor, drawn: "_Drawn") -> Tensor:
        """Cross-entropy of what comes next, with the vectors `items` of those used."""
        c = self.config
        table, told, timed, used, shut = (
            drawn.table, drawn.told, drawn.timed, drawn.used, drawn.shut,
        )  # fmt: skip
        sizes = [table.numel(), *(len(number) for number, _ in drawn.negatives)]
        entries, *away = torch.split(items.index_select(0, drawn.place), sizes)
        kind = torch.where(table >= 0, told.kind, -1)
        hidden = kind == shut[:, None]
        read = self.net.entries(entries.view(*table.shape, -1), told)
        states = self.net.sequence(read, hidden)[:, :-1].flatten(0, 1)
        total, weights = torch.zeros(()), torch.zeros(())
        unlike, known = torch.zeros(()), 0
        for d in range(len(self.blocks)):
            coming = next_of(kind == d)
            asked = (coming >= 0) & ((shut == -1) | (shut == d))[:, None]
            asked &= (kind == d) | (torch.rand(kind.shape) < c.other_domain_share)
            target, weight = (
                x.gather(1, coming.clamp(min=0))[asked] for x in (table, drawn.strength)
            )
            state = states.index_select(0, torch.nonzero(asked.flatten())[:, 0])
            own = (kind == d) & ~hidden
            warm = (own.cumsum(1) > own)[asked]  # met something there before
            users = F.normalize(state @ self.net.head[d], dim=1)
            mine = items.index_select(0, torch.searchsorted(used, target))
            popularity, follow = self.net.prior.weights(d, timed, state, warm)
            when = drawn.moment[asked]
            positive = (users * mine).sum(1) / c.temperature
            positive = positive + popularity * self.log_popularity[target]
            positive = positive + follow * self._lift(timed, d, when, target)
            number, log_q = drawn.negatives[d]
            hit = torch.searchsorted(number, target).clamp(max=len(number) - 1)
            hit = torch.where(number[hit] == target, hit, -1)
            trends = [table.index_select(0, number) for table in self.tables]
            shared = Shared(
                self.log_popularity[number], log_q, trends, len(self.trends.edges),
                when, hit, weight,
            )  # fmt: skip
            total = total + SharedSoftmax.apply(
                users / c.temperature, away[d], positive, popularity, follow,
                self.net.prior.trend[timed, d], shared,
            )  # fmt: skip
            weights = weights + weight.sum()
            if self.net.events is not None and c.asks_kinds:
                what = drawn.happened.gather(1, coming.clamp(min=0))[asked]
                logits = self.net.events(d, users, mine)
                unlike = unlike + F.cross_entropy(logits, what, ignore_index=-1, reduction="sum")
                known += int((what >= 0).sum())
        loss = total / weights.clamp(min=1e-9)
        if self.net.events is None or not known:
            return loss
        return self.net.events.joined(loss, unlike / known, c.event_weight)

    def _told(self, rows: Histories, cells: NDArray[np.int64]) -> Told:
        ends, known = [block.stop for block in self.blocks], np.maximum(cells, 0)
        domain = np.searchsorted(ends, known, side="right")
        reads = self.net.events is not None and self.config.event_input
        return Told.of(rows, known, domain, self.trends, reads)

    def _moments(self, time: NDArray[np.int64], timed: int) -> NDArray[np.int64]:
        """The row of the trends' tables at which each entry (batch, length) is asked for: right
        after the entry before, or (`timed`) at any time between that one and its own."""
        before = np.hstack([time[:, :1], time[:, :-1]])
        if timed:
            before = before + ((time - before) * self.rng.random(time.shape)).astype(np.int64)
        return self.trends.at(before)

    def _lift(self, timed: int, d: int, when: Tensor, items: Tensor) -> Tensor:
        """What trends add to the logits of items, each at its moment, all (n,)."""
        if not self.tables:
            return torch.zeros(len(items))
        found = [table[items, when] for table in self.tables]
        return self.net.prior.lift(d, timed, torch.stack(found, -1))


@dataclass(frozen=True)
class _Drawn:
    """A batch's questions: its `padded` items and their strengths, what is `told` of them, when
    they are asked for; each domain's negatives; the items `used` (rising) and where in them those
    of the table and of the negatives are; the domain `shut` off for each person, or -1; what
    `happened` to each item."""

    table: Tensor
    strength: Tensor
    told: Told
    timed: int
    moment: Tensor
    negatives: list[tuple[Tensor, Tensor]]
    used: Tensor
    place: Tensor
    shut: Tensor
    happened: Tensor


def next_of(inside: Tensor) -> Tensor:
    """For each place the first place at or after it that is `inside`, -1 where there is none."""
    length = inside.shape[1]
    place = torch.where(inside, torch.arange(length), length)
    first = place.flip(1).cummin(1).values.flip(1)
    return torch.where(first < length, first, -1)
