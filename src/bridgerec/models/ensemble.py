"""Ensemble: the same model trained several times, each time from another seed.

Training by stochastic gradients ends in a different place each time; the mean of several answers
is better than any of them (Hansen & Salamon, 1990; Lakshminarayanan et al., NeurIPS 2017).
"""

from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from bridgerec.config import wrong_keys
from bridgerec.data.dataset import Histories, Training
from bridgerec.errors import ConfigError
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, find_class, under
from bridgerec.models.scores import Floats, standardised


class EnsembleConfig(CandidateConfig):
    """`copies` of the candidate class `of` ("package.module:Class") with its `options`."""

    of: str = Field(pattern=r"^[\w.]+:\w+$")
    copies: int = Field(3, ge=1)
    options: dict[str, Any] = Field({})


class Ensemble(Candidate):
    """score = mean over copies of the standardised score."""

    config_class = EnsembleConfig
    random = True

    def __init__(self, config: CandidateConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        found, c = find_class(self.config.of), self.config
        try:
            options = found.config_class.model_validate(c.options)
        except ValidationError as error:
            keys = wrong_keys(error)
            raise ConfigError(f"options of {c.of}: {keys}") from error
        # far apart, so that ensembles of neighbouring seeds share no copy
        seeds = np.random.SeedSequence(seed).generate_state(c.copies)
        self.copies = [found(options, int(own)) for own in seeds]
        self.slow = self.copies[0].slow

    def fit(self, training: Training) -> None:
        for copy in self.copies:
            copy.train(training)

    @property
    def tells_kinds(self) -> bool:
        return any(copy.tells_kinds for copy in self.copies)

    def refresh(self, known: Training) -> None:
        for copy in self.copies:
            copy.update(known)

    def score(self, histories: Histories, target: str) -> Floats:
        total = standardised(self.copies[0].score(histories, target))
        for copy in self.copies[1:]:
            total += standardised(copy.score(histories, target))
        return np.asarray(total / len(self.copies), dtype=np.float32)

    def arrays(self) -> Arrays:
        return {
            f"{i}/{n}": a for i, copy in enumerate(self.copies) for n, a in copy.arrays().items()
        }

    def restore(self, arrays: Arrays) -> None:
        for i, copy in enumerate(self.copies):
            copy._shape(self.domains, self.offsets)
            copy.catalogue, copy.event_kinds = self.catalogue, self.event_kinds
            copy.restore(under(arrays, f"{i}/"))
