"""Profile: what a person is in every domain, fused for the one that is asked about.

A person's profile in a domain is the recency-weighted mean of that domain's items, an item being
its language-model vector through an adaptor that all domains share plus a residual of its own.
Bridges carry each domain's profile into the target, and a gate on how long the histories are
fuses them with the target's own profile, as GA-DTCDR (Zhu et al., IJCAI 2020) does for overlapping
people.  All domains are trained jointly with a logQ-corrected softmax over target items; a share
of the people is asked for a domain of which the whole history is dropped, so that cold start is
what is trained for.  What a mapping of behavioural factors (`EMCDR`) expects is added when
scoring: squared error on few factors and a softmax over many items err in different places.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from bridgerec.config import Choice, Range, Space
from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, under
from bridgerec.models.emcdr import EMCDR, EMCDRConfig
from bridgerec.models.scores import standardised
from bridgerec.progress import track
from bridgerec.training.device import learning
from bridgerec.training.losses import alternatives, set_softmax
from bridgerec.training.sequences import batches


class ProfileConfig(CandidateConfig):
    """`history_dropout`: share of the people who are asked for a domain of which nothing is shown,
    the others are asked for what follows a random moment; `item_dropout`: share of the shown items
    left out.  `text_rate` is the learning rate of the adaptors relative to everything else's.
    `factors` are the options of the mapping, whose scores, standardised per person, are added to
    the logits `mapping_weight` times.  A wanted event counts in the loss by its kind's weight."""

    embedding_size: int = Field(48, ge=2)
    epochs: int = Field(9, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(0.002, gt=0)
    text_rate: float = Field(0.1, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    negatives: int = Field(2048, ge=1)
    recency: float = Field(0.9, gt=0, le=1)
    history_dropout: float = Field(0.5, ge=0, le=1)
    item_dropout: float = Field(0.5, ge=0, lt=1)
    mapping_weight: float = Field(0.3, ge=0)
    factors: EMCDRConfig = EMCDRConfig(embedding_size=16, bridge_reg=100)


class _Net(nn.Module):
    """Profiles, bridges and gates; `entry` and `own` hold what items add to their texts."""

    def __init__(self, n_items: int, n_domains: int, size: int) -> None:
        super().__init__()
        self.entry = nn.Parameter(torch.randn(n_items, size) * 0.01)
        self.own = nn.Parameter(torch.randn(n_items, size) * 0.01)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.bridge = nn.Parameter(torch.eye(size).repeat(n_domains, n_domains, 1, 1))
        self.everyone = nn.Parameter(torch.zeros(n_domains, size))
        # [target, source, (1, log source length, log target length)]
        self.gate = nn.Parameter(torch.zeros(n_domains, n_domains, 3))
        self.popular = nn.Parameter(torch.ones(n_domains))

    def people(self, entries: Tensor, slot: Tensor, weight: Tensor, lengths: Tensor, t: int) -> Any:
        """Fused profiles in target number `t`, (people, size).

        `entries` (rows, size) with their place `slot` in (people x domains); `lengths` (people,
        domains) are logarithms.
        """
        n, n_domains = lengths.shape
        total = torch.zeros(n * n_domains, entries.shape[1])
        total = total.index_add(0, slot, entries * weight[:, None])
        mass = torch.zeros(n * n_domains).index_add(0, slot, weight)
        # divided by the root: a long history is surer of its direction
        profile = (total / mass.clamp(min=1e-6)[:, None].sqrt()).view(n, n_domains, -1)
        known = torch.stack(
            [torch.ones_like(lengths), lengths, lengths[:, [t]].expand_as(lengths)], dim=2
        )
        gate = 2 * torch.sigmoid((known * self.gate[t]).sum(2))
        return torch.einsum("nds,dst,nd->nt", profile, self.bridge[t], gate) + self.everyone[t]


class Profile(Candidate):
    """score = fused profile . item + w * log popularity + bias + v * what the mapping expects."""

    config_class = ProfileConfig
    random = True
    uses_vectors = True
    space: ClassVar[Space] = {
        "embedding_size": Choice(choice=(32, 48, 64, 96)),
        "learning_rate": Range(low=0.0005, high=0.01, log=True),
        "recency": Range(low=0.6, high=1),
        "history_dropout": Range(low=0.1, high=0.8),
        "item_dropout": Range(low=0, high=0.7),
        "mapping_weight": Range(low=0, high=1),
    }
    effort = "epochs"

    def fit(self, training: Training) -> None:
        c = self.config
        assert training.vectors is not None
        self.mapping = EMCDR(c.factors, self.seed)
        self.mapping.train(training)
        self.count = np.bincount(training.histories.items, minlength=self.n_items)
        with learning(training.device, self.seed):
            vectors = torch.as_tensor(training.vectors)
            self.log_popularity = torch.as_tensor(np.log(self.count + 0.3).astype(np.float32))
            self.net = _Net(self.n_items, len(self.domains), c.embedding_size)
            self.adaptors = nn.Parameter(
                torch.randn(2, vectors.shape[1], c.embedding_size) * vectors.shape[1] ** -0.5
            )
            self._learn(training.histories, vectors)
            with torch.no_grad():  # from here on an item is finished
                self.net.entry.add_(vectors @ self.adaptors[0])
                self.net.own.add_(vectors @ self.adaptors[1])
        self.net.cpu()
        self.log_popularity = self.log_popularity.cpu()

    def _learn(self, histories: Histories, vectors: Tensor) -> None:
        c, rng = self.config, np.random.default_rng(self.seed)
        rates = [c.learning_rate, c.learning_rate * c.text_rate]
        optimizer = torch.optim.AdamW(
            [
                {"params": list(self.net.parameters()), "lr": rates[0]},
                {"params": [self.adaptors], "lr": rates[1]},
            ],
            weight_decay=c.weight_decay,
        )
        steps = c.epochs * -(-len(histories) // c.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rates, max(steps, 2), pct_start=0.1
        )
        for _ in track(range(c.epochs), "epochs", inner=True):
            for rows in batches(len(histories), c.batch_size, rng):
                losses = []
                for t in range(len(self.domains)):
                    past, wanted = self._question(histories.take(rows), t, rng)
                    if len(wanted):
                        losses.append(self._loss(past, wanted, t, vectors, rng))
                if losses:
                    optimizer.zero_grad(set_to_none=True)
                    torch.stack(losses).sum().backward()
                    optimizer.step()
                schedule.step()

    def _question(
        self, people: Histories, t: int, rng: np.random.Generator
    ) -> tuple[Histories, Histories]:
        """What is shown and what is wanted of the people who can be asked for domain `t`."""
        row, n = people.rows, len(people)
        inside = self.domain_of(people.items) == t
        place = people.lengths[row] - 1 - people.age
        shown = place < (rng.random(n) * people.lengths)[row]
        elsewhere = np.bincount(row[~inside], minlength=n) > 0
        cold = (elsewhere & (rng.random(n) < self.config.history_dropout))[row]
        shown = np.where(cold, ~inside, shown)
        wanted = people.where(inside & ~shown)
        asked = np.flatnonzero(wanted.lengths)
        shown &= rng.random(len(shown)) >= self.config.item_dropout
        return people.where(shown).take(asked), wanted.take(asked)

    def _loss(
        self, past: Histories, wanted: Histories, t: int, vectors: Tensor, rng: np.random.Generator
    ) -> Tensor:
        block = self.block(self.domains[t])
        local, correction = alternatives(
            self.count[block], wanted.items - block.start, self.config.negatives, rng
        )
        items = local + block.start
        used, place = np.unique(past.items, return_inverse=True)
        entries = vectors[used] @ self.adaptors[0] + self.net.entry[used]
        users = self._people(past, entries[torch.as_tensor(place)], t)
        away = vectors[items] @ self.adaptors[1] + self.net.own[items]
        logits = users @ away.T + self._usual(t, local)
        column = np.searchsorted(items, wanted.items)
        weight = (wanted.strength / np.sqrt(wanted.lengths[wanted.rows])).astype(np.float32)
        parts = (torch.as_tensor(part) for part in (wanted.rows, column, correction, weight))
        return set_softmax(logits, *parts)

    def _people(self, past: Histories, entries: Tensor, t: int) -> Tensor:
        slot = past.rows * len(self.domains) + self.domain_of(past.items)
        lengths = np.bincount(slot, minlength=len(past) * len(self.domains))
        logs = np.log1p(lengths.reshape(len(past), -1)).astype(np.float32)
        weight = (self.config.recency**past.age).astype(np.float32)
        found: Tensor = self.net.people(
            entries, torch.as_tensor(slot), torch.as_tensor(weight), torch.as_tensor(logs), t
        )
        return found

    def _usual(self, t: int, items: NDArray[np.int64] | slice) -> Tensor:
        """What speaks for items of the target whoever asks."""
        block = self.block(self.domains[t])
        usual: Tensor = self.net.popular[t] * self.log_popularity[block][items]
        return usual + self.net.bias[block][items]

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        t, block = self.domains.index(target), self.block(target)
        with torch.inference_mode():
            users = self._people(histories, self.net.entry[histories.items], t)
            scores = users @ self.net.own[block].T + self._usual(t, slice(None))
        expected = standardised(self.mapping.score(histories, target))
        return np.asarray(scores.numpy() + self.config.mapping_weight * expected, dtype=np.float32)

    def arrays(self) -> Arrays:
        learned = {k: v.detach().numpy() for k, v in self.net.state_dict().items()}
        mapping = {f"mapping:{k}": v for k, v in self.mapping.arrays().items()}
        return {**learned, **mapping, "log_popularity": self.log_popularity.numpy()}

    def restore(self, arrays: Arrays) -> None:
        self.mapping = EMCDR(self.config.factors, self.seed)
        self.mapping._shape(self.domains, self.offsets)
        self.mapping.restore(under(arrays, "mapping:"))
        self.log_popularity = torch.from_numpy(arrays["log_popularity"])
        self.net = _Net(self.n_items, len(self.domains), self.config.embedding_size)
        self.net.load_state_dict({k: torch.from_numpy(arrays[k]) for k in self.net.state_dict()})
