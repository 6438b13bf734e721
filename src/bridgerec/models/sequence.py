"""Sequence: a causal transformer over the merged, time-ordered history of all domains.

SASRec (Kang & McAuley, ICDM 2018) carried over to several domains.  An item enters as its
language-model vector through a linear adaptor plus a residual of its own, dropped at random while
training so that the text stays usable for items nobody has met.  At every place the model is
asked for the next item of *each* domain, through that domain's own head, so that interest is
carried over from whatever came last; with `history_dropout` it is asked for a domain of which it
may see nothing (the cold-start road).  Softmax over all items of the domain, or over logQ-corrected
shared negatives (`training.losses.draw`).  Off at weight 0: agreement of augmented views (CL4SRec,
Xie et al., ICDE 2022) and adversarial training.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from bridgerec.config import Choice, Range, Space
from bridgerec.data.dataset import Histories, Images, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, under
from bridgerec.models.transformer import CausalTransformer
from bridgerec.models.trends import Trends
from bridgerec.progress import track
from bridgerec.training.adversarial import adversarial
from bridgerec.training.augment import augment
from bridgerec.training.fusion import FusionOptions, fusion
from bridgerec.training.losses import draw, info_nce
from bridgerec.training.prior import Prior
from bridgerec.training.repeatable import repeatable
from bridgerec.training.robustness import RobustnessOptions
from bridgerec.training.sequences import batches, padded

PAUSES = 32  # classes of the time since the entry before


class SequenceConfig(CandidateConfig, RobustnessOptions, FusionOptions):
    """`other_domain_share` of the places ask for a domain that does not come next, too;
    `history_dropout` of the people are asked for a domain of which they may show nothing.
    `half_lives` in days of the trends that the model knows (`models.trends`)."""

    embedding_size: int = Field(128, ge=4)
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
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


class _Net(nn.Module):
    """Item tower, what else an entry tells, sequence, and what each domain has of its own."""

    def __init__(
        self, config: SequenceConfig, n_items: int, n_domains: int, width: int,
        images: Images | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        size, trends = config.embedding_size, len(config.half_lives)
        self.adaptor = nn.Linear(width, size, bias=False)
        self.residual = nn.Parameter(torch.zeros(n_items, size))
        self.kind = nn.Parameter(torch.randn(n_domains, size) * 0.1)
        self.pause = nn.Parameter(torch.zeros(PAUSES, size))
        self.trendy = nn.Parameter(torch.zeros(trends, size))
        self.sequence = CausalTransformer(size, config.layers, config.heads, config.dropout)
        self.head = nn.Parameter(torch.eye(size).repeat(n_domains, 1, 1))
        self.prior = Prior(n_domains, trends, size)
        self.fusion = fusion(images, config, width, size, seed)

    def content(self, vectors: Tensor, items: Tensor) -> Tensor:
        """What texts and pictures tell of the items numbered `items`, (n, size)."""
        found: Tensor = self.adaptor(vectors)
        return found if self.fusion is None else self.fusion(found, vectors, items)

    def entries(self, items: Tensor, told: "_Told") -> Tensor:
        """What attention reads: (batch, length, size) from unit item vectors."""
        scaled = items * items.shape[2] ** 0.5
        return scaled + self.kind[told.kind] + self.pause[told.pause] + told.trends @ self.trendy


class Sequence(Candidate):
    """score = cosine(head of the target (state), item) / temperature + prior."""

    config_class = SequenceConfig
    random = True
    uses_vectors = True
    space: ClassVar[Space] = {
        "embedding_size": Choice(choice=(32, 64, 128)),
        "learning_rate": Range(low=0.0005, high=0.01, log=True),
        "temperature": Range(low=0.03, high=0.2, log=True),
        "dropout": Range(low=0, high=0.6),
        "residual_dropout": Range(low=0, high=0.7),
        "history_dropout": Range(low=0, high=0.5),
        "weight_decay": Range(low=0.001, high=1, log=True),
    }
    effort = "epochs"

    def fit(self, training: Training) -> None:
        assert training.vectors is not None
        vectors = torch.from_numpy(training.vectors)
        self.count = np.bincount(training.histories.items, minlength=self.n_items)
        self.log_popularity = torch.from_numpy(np.log1p(self.count).astype(np.float32))
        self.trends = Trends.fit(training, self.config.half_lives)
        with torch.random.fork_rng(), repeatable():
            torch.manual_seed(self.seed)
            self.net = _Net(
                self.config, self.n_items, len(self.domains), vectors.shape[1],
                training.images, self.seed,
            )  # fmt: skip
            self._learn(training.histories.last(self.config.max_history), vectors)
        self.net.eval()
        with torch.no_grad():
            content = self.net.content(vectors, torch.arange(self.n_items))
            self.items = F.normalize(content + self.net.residual, dim=1)

    def refresh(self, known: Training) -> None:
        count = np.bincount(known.histories.items, minlength=self.n_items)
        self.log_popularity = torch.from_numpy(np.log1p(count).astype(np.float32))
        self.trends = Trends.fit(known, self.config.half_lives)

    def _learn(self, recent: Histories, vectors: Tensor) -> None:
        c, rng = self.config, np.random.default_rng(self.seed)
        recent = recent.take(np.flatnonzero(recent.lengths >= 2))
        named = dict(self.net.named_parameters())
        decayed = [
            n for n in named if n == "residual" or (n.endswith("weight") and named[n].ndim == 2)
        ]
        groups: list[dict[str, Any]] = [
            {"params": [named[n] for n in decayed], "weight_decay": c.weight_decay},
            {"params": [p for n, p in named.items() if n not in decayed], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=c.learning_rate)
        steps = c.epochs * -(-len(recent) // c.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, c.learning_rate, max(steps, 2), pct_start=0.1
        )
        self.net.train()
        for _ in track(range(c.epochs), "epochs", terminal=False):
            for rows in batches(len(recent), c.batch_size, rng, recent.lengths):
                loss = self._loss(recent.take(rows), vectors, rng)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()

    def _negatives(self, domain: str, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Distinct seen items of a domain in rising order, and their `log_q`."""
        block, n = self.block(domain), self.config.negatives
        seen = block.start + np.flatnonzero(self.count[block])
        if len(seen) <= n:  # the full softmax
            return torch.from_numpy(seen), torch.zeros(len(seen))
        share = self.count[seen] ** 0.75
        places, log_q = draw(share / share.sum(), n, rng)
        return torch.from_numpy(seen[places]), torch.from_numpy(log_q)

    def _loss(self, rows: Histories, vectors: Tensor, rng: np.random.Generator) -> Tensor:
        c, n_domains = self.config, len(self.domains)
        table, strength = (torch.from_numpy(part) for part in padded(rows))
        real = table >= 0
        told = self._told(rows, table)
        timed = int(rng.random() < 0.5)
        moment = torch.from_numpy(self._moments(_times(rows, table.shape[1]), timed, rng))
        negatives = [self._negatives(d, rng) for d in self.domains]
        pieces = [table[real], *(items for items, _ in negatives)]
        used, place = torch.unique(torch.cat(pieces), return_inverse=True)
        keep = torch.rand(len(used), 1) >= c.residual_dropout
        own = self.net.content(vectors[used], used) + self.net.residual[used] * keep
        # some people are asked for one domain of which attention sees nothing
        shut = torch.from_numpy(rng.integers(0, n_domains, len(table)))
        shut = torch.where(torch.from_numpy(rng.random(len(table)) < c.history_dropout), shut, -1)
        views = [augment(rows, c.augmentation, rng) for _ in range(2 if c.view_weight else 0)]
        drawn = _Drawn(table, strength, told, timed, moment, negatives, used, place, shut)
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
            table = torch.from_numpy(padded(view)[0]).clamp(min=0)
            own = items[torch.searchsorted(used, table)]
            after.append(F.normalize(self._after(view, table, own), dim=1))
        return info_nce(after[0], after[1], self.config.temperature)

    def _after(self, rows: Histories, table: Tensor, items: Tensor) -> Tensor:
        """States after each row, (batch, size); `items` (batch, length, size) follow `table`."""
        states = self.net.sequence(self.net.entries(items, self._told(rows, table)))
        return states[torch.arange(len(table)), torch.from_numpy(rows.lengths)]

    def _next_item(self, items: Tensor, drawn: "_Drawn") -> Tensor:
        """Cross-entropy of what comes next, with the vectors `items` of those used."""
        c, n_domains = self.config, len(self.domains)
        table, strength, told, timed = drawn.table, drawn.strength, drawn.told, drawn.timed
        moment, negatives, used, shut = drawn.moment, drawn.negatives, drawn.used, drawn.shut
        real = table >= 0
        sizes = [int(real.sum()), *(len(number) for number, _ in negatives)]
        history, *away = torch.split(items[drawn.place], sizes)
        entries = torch.zeros(*table.shape, c.embedding_size)
        entries[real] = history
        kind = torch.where(real, told.kind, -1)
        hidden = kind == shut[:, None]
        states = self.net.sequence(self.net.entries(entries, told), hidden)[:, :-1]
        prior, popular = self.net.prior, self.log_popularity
        total, weights = torch.zeros(()), torch.zeros(())
        for d in range(n_domains):
            coming = _next_of(kind == d)
            asked = (coming >= 0) & ((shut == -1) | (shut == d))[:, None]
            asked &= (kind == d) | (torch.rand(kind.shape) < c.other_domain_share)
            target, weight = (x.gather(1, coming.clamp(min=0))[asked] for x in (table, strength))
            state, own = states[asked], (kind == d) & ~hidden
            warm = (own.cumsum(1) > own)[asked]  # met something there before
            users = F.normalize(state @ self.net.head[d], dim=1)
            mine = items[torch.searchsorted(used, target)]
            lift = self._lift(timed, d, moment[asked][:, None], target[:, None])
            extra = prior(d, timed, state, warm, popular[target, None], lift)[:, 0]
            positive = (users * mine).sum(1) / c.temperature + extra
            number, log_q = negatives[d]
            when, which = torch.unique(moment[asked], return_inverse=True)
            lift = self._lift(timed, d, when[:, None], number[None])[which]
            extra = prior(d, timed, state, warm, popular[number][None], lift)
            logits = users @ away[d].T / c.temperature + extra - log_q
            hit = torch.searchsorted(number, target).clamp(max=len(number) - 1)
            same = torch.nonzero(number[hit] == target)[:, 0]
            logits[same, hit[same]] = -torch.inf
            every = torch.logaddexp(torch.logsumexp(logits, 1), positive)
            total = total + ((every - positive) * weight).sum()
            weights = weights + weight.sum()
        return total / weights.clamp(min=1e-9)

    def _told(self, rows: Histories, table: Tensor) -> "_Told":
        """What is known of the entries of `table`, `padded` from `rows`."""
        known = table.clamp(min=0).numpy()
        time = _times(rows, known.shape[1])
        moment = self.trends.at(time)
        trends = [
            torch.from_numpy(self.trends.of_entries(k, time.ravel(), known.ravel()))
            for k in range(len(self.config.half_lives))
        ]
        return _Told(
            torch.from_numpy(self.domain_of(known)),
            torch.from_numpy(_pauses(time)),
            torch.from_numpy(moment),
            torch.stack(trends, -1).view(*known.shape, -1)
            if trends
            else torch.zeros(*known.shape, 0),
        )

    def _moments(
        self, time: NDArray[np.int64], timed: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """The row of the trends' tables at which each entry (batch, length) is asked for: right
        after the entry before, or (`timed`) at any time between that one and its own."""
        before = np.hstack([time[:, :1], time[:, :-1]])
        if timed:
            before = before + ((time - before) * rng.random(time.shape)).astype(np.int64)
        return self.trends.at(before)

    def _lift(self, timed: int, d: int, when: Tensor, items: Tensor) -> Tensor:
        """What trends add to the logits of items at moments (rows of the trends' tables)."""
        if not self.trends.half_lives:
            return torch.zeros(len(when), 1)
        found = [torch.from_numpy(t[when.numpy(), items.numpy()]) for t in self.trends.tables]
        return self.net.prior.lift(d, timed, torch.stack(found, -1))

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        recent = histories.last(self.config.max_history)
        table = torch.from_numpy(padded(recent)[0]).clamp(min=0)
        d, block = self.domains.index(target), self.block(target)
        with torch.inference_mode():
            last = self._after(recent, table, self.items[table])
            users = F.normalize(last @ self.net.head[d], dim=1)
            scores = users @ self.items[block].T / self.config.temperature
            warm = torch.from_numpy(recent.within(block).lengths > 0)
            timed, prior = int(histories.asked is not None), self.net.prior
            weights = prior.trend[timed, d].numpy()
            lift = torch.from_numpy(self.trends.lift(weights, histories.moment, block))
            scores += prior(d, timed, last, warm, self.log_popularity[None, block], lift)
        return np.asarray(scores.numpy(), dtype=np.float32)

    def arrays(self) -> Arrays:
        state = self.net.state_dict()
        items = ("adaptor.", "residual", "fusion.")  # they are finished
        learned = {k: v for k, v in state.items() if not k.startswith(items)}
        both = {**learned, "items": self.items, "log_popularity": self.log_popularity}
        trends = {f"trends/{name}": array for name, array in self.trends.arrays().items()}
        return {**{name: tensor.numpy() for name, tensor in both.items()}, **trends}

    def restore(self, arrays: Arrays) -> None:
        self.trends = Trends.of(under(arrays, "trends/"))
        tensors = {n: torch.from_numpy(a) for n, a in arrays.items() if not n.startswith("trends/")}
        self.items, self.log_popularity = tensors.pop("items"), tensors.pop("log_popularity")
        self.net = _Net(self.config, 0, len(self.domains), 1)  # the items are finished
        self.net.load_state_dict(tensors, strict=False)
        self.net.eval()


@dataclass(frozen=True)
class _Told:
    """Of each entry (batch, length): its domain, the class of its pause, the row of the trends'
    tables at its time, and what the trends said of it then (batch, length, half-lives)."""

    kind: Tensor
    pause: Tensor
    moment: Tensor
    trends: Tensor


@dataclass(frozen=True)
class _Drawn:
    """A batch's questions: its `padded` items and their strengths, what is `told` of them, when
    they are asked for; each domain's negatives; the items `used` (rising) and where in them those
    of the table and of the negatives are; the domain `shut` off for each person, or -1."""

    table: Tensor
    strength: Tensor
    told: _Told
    timed: int
    moment: Tensor
    negatives: list[tuple[Tensor, Tensor]]
    used: Tensor
    place: Tensor
    shut: Tensor


def _times(histories: Histories, length: int) -> NDArray[np.int64]:
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


def _pauses(time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class of the time since the entry before: 0 for the first, 1 below a minute, then by
    powers of two."""
    minutes = np.diff(time, axis=1, prepend=time[:, :1]) / 60
    found = np.where(minutes < 1, 1, 2 + np.log2(np.maximum(minutes, 1)).astype(np.int64))
    found[:, :1] = 0
    return np.minimum(found, PAUSES - 1)


def _next_of(inside: Tensor) -> Tensor:
    """For each place the first place at or after it that is `inside`, -1 where there is none."""
    length = inside.shape[1]
    place = torch.where(inside, torch.arange(length), length)
    first = place.flip(1).cummin(1).values.flip(1)
    return torch.where(first < length, first, -1)
