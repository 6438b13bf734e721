"""Sequential rules: which item follows which, and how soon, in the merged histories.

Ludewig & Jannach (UMUAI 2018, SR): a pair of items met at a distance d counts `decay ** (d - 1)`.
The counts are divided by powers of the popularity of both ends, so that a rule means more than
that its items are popular, and an answer sums the rules of all history items, the newest most.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from bridgerec.config import Range, Space
from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig
from bridgerec.models.sparse import entries, matrix, pack, unpack


class SequentialRulesConfig(CandidateConfig):
    """Pairs up to `window` places apart count, backward ones times `backward`; popularity of the
    item that leads and of the one that follows is discounted by the powers `lead_power` and
    `follow_power`, after `shrink` was added.  `recency` multiplies a history item once per newer
    item."""

    window: int = Field(20, ge=1)
    decay: float = Field(0.9, gt=0, le=1)
    backward: float = Field(0.2, ge=0)
    lead_power: float = Field(0.5, ge=0, le=1)
    follow_power: float = Field(0.35, ge=0, le=1)
    shrink: float = Field(30.0, ge=0)
    recency: float = Field(0.6, gt=0, le=1)


class SequentialRules(Candidate):
    """score(j) = sum over history items i of recency ** age(i) * rule(i -> j)."""

    quick = True
    config_class = SequentialRulesConfig
    space: ClassVar[Space] = {
        "window": Range(low=3, high=50, log=True),
        "decay": Range(low=0.5, high=1),
        "backward": Range(low=0, high=1),
        "lead_power": Range(low=0, high=1),
        "follow_power": Range(low=0, high=1),
        "shrink": Range(low=1, high=300, log=True),
        "recency": Range(low=0.4, high=1),
    }

    def fit(self, training: Training) -> None:
        c, shape = self.config, (self.n_items, self.n_items)
        items, rows = training.histories.items, training.histories.rows
        strength = training.histories.strength / training.histories.strength.mean()
        rules = sparse.csr_matrix(shape, dtype=np.float32)
        for distance in range(1, c.window + 1):
            same = rows[:-distance] == rows[distance:]
            if not same.any():
                break
            pairs = items[:-distance][same], items[distance:][same]
            weight = strength[distance:][same] * np.float32(c.decay ** (distance - 1))
            rules += sparse.csr_matrix((weight, pairs), shape=shape, dtype=np.float32)
        if c.backward:
            rules += rules.T.tocsr() * np.float32(c.backward)
        rules.setdiag(0)
        rules.eliminate_zeros()
        count = matrix(training.histories, self.n_items, weighted=True).sum(axis=0).A1 + c.shrink
        discount = [np.maximum(count, 1e-9) ** -p for p in (c.lead_power, c.follow_power)]
        lead, follow = (sparse.diags(d.astype(np.float32)) for d in discount)
        self._keep((lead @ rules @ follow).tocsr())

    def _keep(self, rules: sparse.csr_matrix) -> None:
        self.rules = rules
        self.by_target = {d: rules[:, self.block(d)].tocsr() for d in self.domains}

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        h = matrix(histories, self.n_items, self.config.recency)
        return (h @ self.by_target[target]).toarray().astype(np.float32)

    def contributions(
        self, histories: Histories, target: str, items: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        each = entries(histories, self.n_items, self.config.recency) @ self.by_target[target]
        return each[:, items - self.block(target).start].toarray().T.astype(np.float32)

    def arrays(self) -> Arrays:
        return pack("rules", self.rules)

    def restore(self, arrays: Arrays) -> None:
        self._keep(unpack("rules", arrays))
