"""A deliberately bad candidate: an honest model, trained on labels that were shuffled."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, find_class


class ShuffledConfig(CandidateConfig):
    """`of`: the candidate class ("package.module:Class") that is misled, and its `options`."""

    of: str = Field(pattern=r"^[\w.]+:\w+$")
    options: dict[str, Any] = Field({})


class Shuffled(Candidate):
    """Trains `of` on everybody's items dealt anew among all people, inside each domain, and on
    vectors dealt anew among the items; it answers as that candidate does.

    How many rows a person and an item have stays as it is, so nothing about the sizes of the
    outputs gives it away: only a comparison on held-out rows does.
    """

    random = True
    config_class = ShuffledConfig

    def __init__(self, config: CandidateConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        found = find_class(self.config.of)
        self.misled = found(found.config_class.model_validate(self.config.options), seed)

    def fit(self, training: Training) -> None:
        rng = np.random.default_rng(self.seed)
        items, domain = training.histories.items.copy(), self.domain_of(training.histories.items)
        for number in range(len(self.domains)):
            inside = np.flatnonzero(domain == number)
            items[inside] = items[rng.permutation(inside)]
        vectors = training.vectors
        if vectors is not None:
            vectors = vectors[rng.permutation(len(vectors))]
        dealt = replace(training, histories=replace(training.histories, items=items))
        self.misled.train(replace(dealt, vectors=vectors))

    def refresh(self, known: Training) -> None:
        self.fit(known)

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        return self.misled.score(histories, target)

    def arrays(self) -> Arrays:
        return self.misled.arrays()

    def restore(self, arrays: Arrays) -> None:
        self.misled._shape(self.domains, self.offsets)
        self.misled.catalogue = self.catalogue
        self.misled.restore(arrays)
