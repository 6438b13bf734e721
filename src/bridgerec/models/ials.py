"""iALS: implicit-feedback matrix factorisation over one or all domains.

Hu, Koren & Volinsky (ICDM 2008), with the regularisation scaled by frequency and the advice on
options of Rendle et al., "Revisiting the performance of iALS" (RecSys 2022).  People are folded in
from their histories.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.config import Choice, Range, Space
from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig
from bridgerec.models.factors import factorise, fold_in, scaled
from bridgerec.models.sparse import matrix


class IALSConfig(CandidateConfig):
    """`source_domains: false` factorises each domain alone.  `alpha` is how much more a row tells
    than its absence; `reg` holds for one without rows and grows with a person's or item's total
    confidence to the power `reg_power`.  `recency` multiplies a history item once per newer
    item."""

    embedding_size: int = Field(64, ge=1)
    iterations: int = Field(8, ge=1)
    alpha: float = Field(40.0, gt=0)
    reg: float = Field(100.0, gt=0)
    reg_power: float = Field(1.0, ge=0, le=2)
    source_domains: bool = True
    recency: float = Field(0.6, gt=0, le=1)


class IALS(Candidate):
    """score = person's factors, the least squares answer to a history, times the item's."""

    quick = True
    config_class = IALSConfig
    random = True
    space: ClassVar[Space] = {
        "embedding_size": Choice(choice=(16, 32, 64, 128)),
        "alpha": Range(low=1, high=200, log=True),
        "reg": Range(low=1, high=1000, log=True),
        "reg_power": Range(low=0, high=1),
        "recency": Range(low=0.5, high=1),
    }
    effort = "iterations"

    def fit(self, training: Training) -> None:
        c = self.config
        x = matrix(training.histories, self.n_items, weighted=True)
        self.factors = np.zeros((self.n_items, c.embedding_size), dtype=np.float32)
        for number, span in enumerate(self._spans()):
            self.factors[span] = factorise(
                x[:, span].tocsr(), c.embedding_size, c.iterations, c.alpha, c.reg,
                self.seed + number, c.reg_power,
            )  # fmt: skip

    def _spans(self) -> list[slice]:
        if self.config.source_domains:
            return [slice(0, self.n_items)]
        return [self.block(d) for d in self.domains]

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        c, block = self.config, self.block(target)
        span = slice(0, self.n_items) if c.source_domains else block
        x = matrix(histories.within(span), self.n_items, c.recency)[:, span].tocsr()
        reg = scaled(x, c.alpha, c.reg, c.reg_power)
        people = fold_in(x, self.factors[span], c.alpha, reg)
        return people @ self.factors[block].T

    def arrays(self) -> Arrays:
        return {"factors": self.factors}

    def restore(self, arrays: Arrays) -> None:
        self.factors = arrays["factors"]
