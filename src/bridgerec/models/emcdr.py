"""EMCDR: embedding and mapping for cross-domain recommendation (Man et al., IJCAI 2017).

Factorises each domain on its own, then learns, on the overlapping people alone, a function
from a person's factors in a source domain to those in the target.  People are folded in from
their histories, so nobody needs to have been in training.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, under
from bridgerec.models.factors import factorise, fold_in
from bridgerec.models.sparse import matrix


class EMCDRConfig(CandidateConfig):
    """`alpha` is the confidence weight and `reg` the regularisation of the factorisation;
    `bridge_reg` that of the mapping, relative to the mean squared source factor."""

    embedding_size: int = Field(48, ge=2)
    iterations: int = Field(6, ge=1)
    alpha: float = Field(10.0, gt=0)
    reg: float = Field(10.0, gt=0)
    bridge_reg: float = Field(50.0, gt=0)


class EMCDR(Candidate):
    """The linear mapping of the paper, with an intercept, in closed form."""

    config_class = EMCDRConfig
    random = True

    def fit(self, training: Training) -> None:
        c = self.config
        x = matrix(training.histories, self.n_items, weighted=True)
        self.factors: Arrays = {}
        self.bridges: Arrays = {}
        people = {}
        for number, domain in enumerate(self.domains):
            own = x[:, self.block(domain)].tocsr()
            self.factors[domain] = factorise(
                own, c.embedding_size, c.iterations, c.alpha, c.reg, self.seed + number
            )
            people[domain] = fold_in(own, self.factors[domain], c.alpha, c.reg)
        known = {d: np.any(u != 0, axis=1) for d, u in people.items()}
        for target in self.domains:
            self.bridges[f">{target}"] = _mean(people[target][known[target]], c.embedding_size)
            for source in self.domains:
                both = known[source] & known[target]
                if source != target:
                    self.bridges[f"{source}>{target}"] = self._bridge(
                        people[source][both], people[target][both], self.bridges[f">{target}"]
                    )

    def _bridge(
        self,
        source: NDArray[np.float32],
        target: NDArray[np.float32],
        fallback: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Ridge regression with an unpenalised intercept in the last row, (size + 1, size)."""
        if len(source) == 0:  # nobody to learn from: everyone maps to the mean person
            return np.vstack([np.zeros((len(fallback), len(fallback))), fallback]).astype(
                np.float32
            )
        left, right = source.mean(0), target.mean(0)
        s, t = source - left, target - right
        penalty = self.config.bridge_reg * max(float(np.mean(s * s)), 1e-12)
        weights = np.linalg.solve(s.T @ s + penalty * np.eye(s.shape[1]), s.T @ t)
        return np.vstack([weights, right - left @ weights]).astype(np.float32)

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        x = matrix(histories, self.n_items)
        users = self._users(x, target)
        mapped = np.zeros_like(users)
        times = np.zeros((len(users), 1), dtype=np.float32)
        for source in self.domains:
            if source == target:
                continue
            own = self._users(x, source)
            has = np.any(own != 0, axis=1, keepdims=True)
            bridge = self.bridges[f"{source}>{target}"]
            mapped += has * (own @ bridge[:-1] + bridge[-1])
            times += has
        mapped = np.where(times > 0, mapped / np.maximum(times, 1), self.bridges[f">{target}"])
        warm = np.any(users != 0, axis=1, keepdims=True)
        scores: NDArray[np.float32] = np.where(warm, users, mapped) @ self.factors[target].T
        return scores.astype(np.float32)

    def _users(self, x: sparse.csr_matrix, domain: str) -> NDArray[np.float32]:
        own = x[:, self.block(domain)].tocsr()
        return fold_in(own, self.factors[domain], self.config.alpha, self.config.reg)

    def arrays(self) -> Arrays:
        return {
            **{f"factors.{d}": a for d, a in self.factors.items()},
            **{f"bridges.{n}": a for n, a in self.bridges.items()},
        }

    def restore(self, arrays: Arrays) -> None:
        self.factors = under(arrays, "factors.")
        self.bridges = under(arrays, "bridges.")


def _mean(rows: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return rows.mean(0) if len(rows) else np.zeros(size, dtype=np.float32)
