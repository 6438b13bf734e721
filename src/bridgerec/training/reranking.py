"""The first items of a mixture, looked at again by a small network.

    s(i) = a . x(i) + net(x(i))     for the first items i of the mixture

A mixture is linear in its members' scores: it cannot say that one member is right only where
another one agrees, or only for what is in fashion.  The network can (stacking, Wolpert 1992; a
second, finer ranking of few items, Covington et al., RecSys 2016).  It learns what people met next
from among the first items, by listwise cross-entropy (Cao et al., ICML 2007).  It is not told the
mixture's own score, which means something else wherever the mixture was learned from others.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.training.choices import PADDING

Floats = NDArray[np.float32]
HIDDEN = 32
DROPOUT = 0.3
EPOCHS = 16
BATCH = 64
LEARNING_RATE = 0.003
WEIGHT_DECAY = 0.1
MOST = 5.0  # deviations: what is further out counts as there


@dataclass(frozen=True)
class Listing:
    """The first items of a mixture, best first: their `features` (n, top, number), which were
    `relevant` (n, top), and how they were `mixed` (n, top), `PADDING` where lists are shorter."""

    features: Floats
    relevant: NDArray[np.bool_]
    mixed: Floats

    @property
    def present(self) -> NDArray[np.bool_]:
        return self.mixed > PADDING

    def take(self, rows: NDArray[np.bool_]) -> "Listing":
        return Listing(self.features[rows], self.relevant[rows], self.mixed[rows])


@dataclass(frozen=True)
class Reranker:
    """`centre` and `spread` of the features (number,), the layers' weights `inner`
    (number, HIDDEN), `bias` (HIDDEN,) and `outer` (HIDDEN,), and the `linear` part's (number,)."""

    centre: Floats
    spread: Floats
    inner: Floats
    bias: Floats
    outer: Floats
    linear: Floats

    def score(self, features: Floats) -> Floats:
        """s of features (n, top, number), shape (n, top)."""
        import torch

        x = torch.from_numpy(_scaled(features, self.centre, self.spread))
        inner, bias, outer, linear = map(
            torch.from_numpy, (self.inner, self.bias, self.outer, self.linear)
        )
        with torch.inference_mode():
            found = torch.nn.functional.gelu(x @ inner + bias) @ outer + x @ linear
        return np.asarray(found.numpy(), dtype=np.float32)

    @classmethod
    def names(cls) -> list[str]:
        return [field.name for field in fields(cls)]


def features(members: Floats, trends: Floats, person: Floats) -> Floats:
    """What the network knows of the first items of a mixture, (n, top, number): the `members`'
    scores (n, top, members), the items' `trends` (n, top, half-lives), and the `person`
    (n, features)."""
    same = np.broadcast_to(person[:, None], (*trends.shape[:2], person.shape[1]))
    return np.concatenate([members, trends, same], axis=2, dtype=np.float32)


def learn_reranker(listing: Listing, seed: int) -> Reranker | None:
    """The network that tells best what was met next; None where nothing met is in a list."""
    import torch

    from bridgerec.training.device import learning

    listing = listing.take(np.any(listing.relevant, axis=1))
    n = len(listing.features)
    if n == 0:
        return None
    flat = listing.features[listing.present]
    centre, spread = flat.mean(0), flat.std(0)
    spread = np.where(spread > 1e-6, spread, 1).astype(np.float32)
    with learning("cpu", seed):
        x = torch.from_numpy(_scaled(listing.features, centre, spread))
        absent = torch.from_numpy(np.where(listing.present, 0, PADDING))
        relevant = torch.from_numpy(listing.relevant)
        share = relevant / relevant.sum(1, keepdim=True)
        inner, outer = torch.nn.Linear(x.shape[2], HIDDEN), torch.nn.Linear(HIDDEN, 1, bias=False)
        linear = torch.nn.Linear(x.shape[2], 1, bias=False)
        for layer in (outer, linear):
            torch.nn.init.zeros_(layer.weight)
        net = torch.nn.Sequential(inner, torch.nn.GELU(), torch.nn.Dropout(DROPOUT), outer)
        groups: list[dict[str, Any]] = [
            {"params": net.parameters(), "weight_decay": WEIGHT_DECAY},
            {"params": linear.parameters(), "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, fused=True)
        steps = EPOCHS * -(-n // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, max(steps, 2))
        for _ in range(EPOCHS):
            for rows in torch.randperm(n).split(BATCH):
                scores = (net(x[rows]) + linear(x[rows]))[:, :, 0] + absent[rows]
                loss = torch.nn.functional.cross_entropy(scores, share[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
        with torch.no_grad():
            layers = inner.weight.T.contiguous(), inner.bias, outer.weight[0], linear.weight[0]
            return Reranker(centre, spread, *(part.detach().numpy() for part in layers))


def _scaled(features: Floats, centre: Floats, spread: Floats) -> Floats:
    return np.clip((features - centre) / spread, -MOST, MOST)
