"""Semantic alignment: two towers on language-model vectors.

The item tower is a linear adaptor of the item's text vector plus a small residual of its own,
dropped at random while training so that the text stays usable for items nobody has met.  The
user tower is a recency-weighted, domain-gated sum over the history.  Trained with sampled
softmax (logQ-corrected) over next items, with histories of the source domains alone mixed in
(the cold-start road), and with InfoNCE between a person's views in two domains.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig
from bridgerec.training.losses import draw, info_nce, sampled_softmax
from bridgerec.training.repeatable import repeatable
from bridgerec.training.sequences import batches, padded

if TYPE_CHECKING:
    import torch


class TwoTowerConfig(CandidateConfig):
    """`history_dropout`: share of positions whose history is cut down to the other domains."""

    embedding_size: int = Field(64, ge=2)
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(256, ge=2)
    learning_rate: float = Field(0.01, gt=0)
    max_history: int = Field(24, ge=2)
    negatives: int = Field(256, ge=1)
    temperature: float = Field(0.1, gt=0)
    recency: float = Field(0.8, gt=0, le=1)
    residual_dropout: float = Field(0.3, ge=0, lt=1)
    history_dropout: float = Field(0.2, ge=0, lt=1)
    contrastive_weight: float = Field(0.1, ge=0)


class TwoTower(Candidate):
    """score = cosine(user, item) / temperature + popularity_weight * log popularity."""

    config_class = TwoTowerConfig
    random = True
    uses_vectors = True

    @repeatable()
    def fit(self, training: Training) -> None:
        import torch

        c = self.config
        generator = torch.Generator().manual_seed(self.seed)
        rng = np.random.default_rng(self.seed)
        assert training.vectors is not None
        vectors = torch.from_numpy(training.vectors)
        domain = torch.from_numpy(training.catalogue.domain_of(np.arange(self.n_items)))
        count = np.bincount(training.histories.items, minlength=self.n_items)
        self.log_popularity = np.log1p(count).astype(np.float32)
        log_popularity = torch.from_numpy(self.log_popularity)
        size, n_domains = vectors.shape[1], len(self.domains)
        adaptor = torch.randn(size, c.embedding_size, generator=generator) / size**0.5
        residual = torch.zeros(self.n_items, c.embedding_size)
        gate = torch.zeros(n_domains, n_domains)
        popular = torch.full((n_domains,), 0.1)
        parameters = [adaptor, residual, gate, popular]
        for parameter in parameters:
            parameter.requires_grad_()
        optimizer = torch.optim.Adam(parameters, lr=c.learning_rate)
        long = np.flatnonzero(training.histories.lengths >= 2)
        known = padded(training.histories.take(long), c.max_history)
        table, strength = (torch.from_numpy(part) for part in known)
        steps = c.epochs * -(-len(table) // c.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, c.learning_rate, steps)
        seen = np.flatnonzero(count)
        share = count[seen] ** 0.75 / (count[seen] ** 0.75).sum()
        for _ in range(c.epochs):
            for rows in batches(len(table), c.batch_size, rng):
                drawn, log_q = draw(share, c.negatives * n_domains, rng)
                chosen = torch.from_numpy(rows)
                loss = self._loss(
                    table[chosen], strength[chosen], torch.from_numpy(seen[drawn]),
                    torch.from_numpy(log_q), vectors, domain, log_popularity,
                    adaptor, residual, gate, popular, generator,
                )  # fmt: skip
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
        with torch.no_grad():
            items = torch.nn.functional.normalize(vectors @ adaptor + residual, dim=1)
        self.items = items.numpy()
        self.gate = gate.detach().exp().numpy()
        self.popular = popular.detach().numpy()

    def _loss(
        self, table: "torch.Tensor", strength: "torch.Tensor",
        negative: "torch.Tensor", log_q: "torch.Tensor",
        vectors: "torch.Tensor", domain: "torch.Tensor", log_popularity: "torch.Tensor",
        adaptor: "torch.Tensor", residual: "torch.Tensor", gate: "torch.Tensor",
        popular: "torch.Tensor", generator: "torch.Generator",
    ) -> "torch.Tensor":  # fmt: skip
        import torch
        import torch.nn.functional as F

        c, real = self.config, table >= 0
        used, place = torch.unique(torch.cat([table[real], negative]), return_inverse=True)
        keep = torch.rand(len(used), 1, generator=generator) >= c.residual_dropout
        items = F.normalize(vectors[used] @ adaptor + residual[used] * keep, dim=1)
        z = torch.zeros(*table.shape, c.embedding_size)
        z[real] = items[place[: int(real.sum())]]
        away = items[place[int(real.sum()) :]]
        kind = torch.where(real, domain[table.clamp(min=0)], 0)

        length = table.shape[1]
        lag = torch.arange(length)[:, None] - 1 - torch.arange(length)[None]
        decay = torch.where(lag >= 0, c.recency ** lag.clamp(min=0), 0.0)
        weights = decay * gate.exp()[kind[:, :, None], kind[:, None, :]] * real[:, None, :]
        other = kind[:, :, None] != kind[:, None, :]
        cut = torch.rand(kind.shape, generator=generator) < c.history_dropout
        cut = cut & ((weights * other).sum(2) > 0)
        weights = weights * (~cut[:, :, None] | other)
        asked = real & (weights.sum(2) > 0)
        users = F.normalize((weights @ z)[asked], dim=1)
        target, own = table[asked], kind[asked]

        bias = popular[own]
        positive = (users * z[asked]).sum(1) / c.temperature + bias * log_popularity[target]
        negatives = users @ away.T / c.temperature + bias[:, None] * log_popularity[negative]
        # an item of another domain is no alternative to the target
        wrong = (negative[None] == target[:, None]) | (domain[negative][None] != own[:, None])
        loss = sampled_softmax(positive, negatives, log_q, wrong, strength[asked])
        if c.contrastive_weight == 0 or len(self.domains) < 2:
            return loss
        first = kind[:, -1]  # the newest item's domain against all others
        inside = real & (kind == first[:, None])
        outside = real & (kind != first[:, None])
        both = inside.any(1) & outside.any(1)
        if int(both.sum()) < 2:
            return loss
        left = F.normalize((z * inside[..., None]).sum(1)[both], dim=1)
        right = F.normalize((z * outside[..., None]).sum(1)[both], dim=1)
        return loss + c.contrastive_weight * info_nce(left, right, c.temperature)

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        t, block = self.domains.index(target), self.block(target)
        kind = self.domain_of(histories.items)
        weight = self.config.recency**histories.age * self.gate[t, kind]
        users = np.zeros((len(histories), self.items.shape[1]), dtype=np.float32)
        np.add.at(users, histories.rows, self.items[histories.items] * weight[:, None])
        users /= np.maximum(np.linalg.norm(users, axis=1, keepdims=True), 1e-12)
        scores = users @ self.items[block].T / np.float32(self.config.temperature)
        return (scores + self.popular[t] * self.log_popularity[block]).astype(np.float32)

    def arrays(self) -> Arrays:
        return {
            "items": self.items,
            "gate": self.gate,
            "popular": self.popular,
            "log_popularity": self.log_popularity,
        }

    def restore(self, arrays: Arrays) -> None:
        for name, array in arrays.items():
            setattr(self, name, array)
