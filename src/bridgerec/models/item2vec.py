"""Item2Vec: word2vec over the merged histories of all domains.

Barkan & Koenigstein (2016), skip-gram with negative sampling; which options matter: Caselles-Dupre
et al. (RecSys 2018), many epochs and the distribution of negatives above all.
"""

from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.config import Choice, Range, Space
from bridgerec.data.dataset import Histories, Training
from bridgerec.errors import ConfigError
from bridgerec.models.base import Arrays, Candidate, CandidateConfig
from bridgerec.models.sparse import matrix


class Item2VecConfig(CandidateConfig):
    """Negatives are drawn by popularity to the power `negative_power`; `subsample` thins out items
    with a larger share of all rows (0: none).  `output_vectors`: what follows is told by the
    vectors that skip-gram learns for contexts, instead of similarity.  `recency` multiplies a
    history item once per newer item."""

    embedding_size: int = Field(64, ge=1)
    window: int = Field(5, ge=1)
    epochs: int = Field(30, ge=1)
    negatives: int = Field(10, ge=1)
    negative_power: float = Field(0.75, ge=-1, le=1)
    subsample: float = Field(1e-3, ge=0)
    learning_rate: float = Field(0.025, gt=0)
    output_vectors: bool = False
    recency: float = Field(0.6, gt=0, le=1)


class Item2Vec(Candidate):
    """score = cosine(recency-weighted mean of the history's vectors, item)."""

    config_class = Item2VecConfig
    random = True
    space: ClassVar[Space] = {
        "embedding_size": Choice(choice=(32, 64, 128)),
        "window": Range(low=2, high=50, log=True),
        "negative_power": Range(low=-0.5, high=1),
        "subsample": Range(low=0.00001, high=0.01, log=True),
        "learning_rate": Range(low=0.005, high=0.1, log=True),
        "recency": Range(low=0.4, high=1),
    }
    effort = "epochs"

    def fit(self, training: Training) -> None:
        try:
            from gensim.models import Word2Vec
        except ImportError as error:
            raise ConfigError(
                "Item2Vec needs gensim; install it with `pip install 'bridgerec[classical]'`."
            ) from error

        c = self.config
        names = np.arange(self.n_items).astype(str).tolist()
        words = [names[i] for i in training.histories.items.tolist()]
        indptr = training.histories.indptr.tolist()
        model = Word2Vec(
            [words[a:b] for a, b in pairwise(indptr)],
            vector_size=c.embedding_size, window=c.window, epochs=c.epochs, sg=1, hs=0,
            negative=c.negatives, ns_exponent=c.negative_power, sample=c.subsample,
            alpha=c.learning_rate, min_count=1, workers=1, seed=self.seed,
        )  # fmt: skip
        known = np.array([int(word) for word in model.wv.index_to_key])
        self.items = np.zeros((self.n_items, c.embedding_size), dtype=np.float32)
        self.outputs = np.zeros_like(self.items)
        self.items[known] = _unit(model.wv.vectors)
        self.outputs[known] = _unit(model.syn1neg) if c.output_vectors else self.items[known]

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        h = matrix(histories, self.n_items, self.config.recency)
        return _unit(h @ self.items) @ self.outputs[self.block(target)].T

    def arrays(self) -> Arrays:
        return {"items": self.items, "outputs": self.outputs}

    def restore(self, arrays: Arrays) -> None:
        self.items, self.outputs = arrays["items"], arrays["outputs"]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
