"""Popularity, all-time or recent: the baseline that needs no history at all."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig


class PopularityConfig(CandidateConfig):
    """`half_life_days`: after so many days a row counts half; None counts all rows alike."""

    half_life_days: float | None = Field(None, gt=0)


class Popularity(Candidate):
    """Rows per item, each by its strength; the same for everybody."""

    config_class = PopularityConfig

    def fit(self, training: Training) -> None:
        rows = training.histories
        weight = rows.strength.astype(np.float64)
        if self.config.half_life_days is not None and training.timestamp is not None:
            age = (training.timestamp.max() - training.timestamp) / 86_400
            weight *= np.exp2(-age / self.config.half_life_days)
        self.popularity = np.bincount(rows.items, weight, self.n_items).astype(np.float32)

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        scores = self.popularity[self.block(target)]
        return np.repeat(scores[None], len(histories), axis=0)

    def arrays(self) -> Arrays:
        return {"popularity": self.popularity}

    def restore(self, arrays: Arrays) -> None:
        self.popularity = arrays["popularity"]
