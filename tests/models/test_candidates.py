"""Every shipped candidate against the contract, and what is special about each."""

import numpy as np
import pytest

from bridgerec.config import load_params
from bridgerec.data.dataset import Histories, Training
from bridgerec.errors import ConfigError
from bridgerec.models.base import build
from bridgerec.models.ease import EASE, EASEConfig
from bridgerec.models.emcdr import EMCDR
from bridgerec.models.item_knn import ItemKNN, ItemKNNConfig
from bridgerec.models.popularity import Popularity, PopularityConfig
from bridgerec.models.sparse import matrix
from bridgerec.models.two_tower import TwoTower, TwoTowerConfig
from bridgerec.testing import CandidateContract


class TestPopularity(CandidateContract):
    candidate = Popularity
    configs = (PopularityConfig(), PopularityConfig(half_life_days=30))
    personal = False


class TestItemKNN(CandidateContract):
    candidate = ItemKNN
    configs = (ItemKNNConfig(neighbours=10),)


class TestEASE(CandidateContract):
    candidate = EASE
    configs = (
        EASEConfig(regularization=5, source_domains=False),
        EASEConfig(regularization=5),
        EASEConfig(regularization=5, text_weight=2, recency=0.8),
    )


class TestTwoTower(CandidateContract):
    candidate = TwoTower
    configs = (TwoTowerConfig(embedding_size=16, epochs=3, batch_size=32, negatives=16),)


class TestEMCDR(CandidateContract):
    candidate = EMCDR


def test_ease_dual_form_equals_the_paper(training: Training) -> None:
    """Against Steck's primal closed form, B = I - P diag(1 / diag P)."""
    config = EASEConfig(regularization=7, text_weight=0.5)
    ours = EASE(config)
    ours.train(training)
    assert training.vectors is not None
    a = np.vstack([matrix(training.histories, 60).toarray(), 0.5 * training.vectors.T])
    p = np.linalg.inv(a.T.astype(np.float64) @ a + 7 * np.eye(60))
    b = np.eye(60) - p / np.diag(p)
    h = matrix(training.histories, 60).toarray()
    expected = (h @ b)[:, 30:]
    np.testing.assert_allclose(ours.score(training.histories, "right"), expected, atol=2e-4)


def test_item_knn_equals_a_dense_computation(training: Training) -> None:
    ours = ItemKNN(ItemKNNConfig(neighbours=7, shrink=3))
    ours.train(training)
    x = matrix(training.histories, 60).toarray()
    norms = np.sqrt(x.sum(0))
    s = (x.T @ x) / (np.outer(norms, norms) + 3)
    np.fill_diagonal(s, 0)
    for column in range(60):
        kept = np.argsort(-s[:, column], kind="stable")[:7]
        mask = np.ones(60, dtype=bool)
        mask[kept] = False
        s[mask, column] = 0
    np.testing.assert_allclose(ours.score(training.histories, "left"), (x @ s)[:, :30], atol=1e-5)


def test_recent_popularity_forgets(training: Training) -> None:
    assert training.timestamp is not None
    recent = Popularity(PopularityConfig(half_life_days=0.001))
    recent.train(training)
    newest = training.histories.items[training.timestamp.argmax()]
    assert recent.popularity.argmax() == newest


@pytest.mark.parametrize("use", ["nowhere:Thing", "bridgerec.models.ease:Nothing", "json:loads"])
def test_unknown_class_is_a_clear_error(use: str) -> None:
    from bridgerec.config import Model

    with pytest.raises(ConfigError, match="use"):
        build("x", Model(use=use))


def test_wrong_option_names_its_key() -> None:
    from bridgerec.config import Model

    with pytest.raises(ConfigError, match=r"models\.x.*regularisation"):
        build("x", Model.model_validate({"use": "bridgerec.models.ease:EASE", "regularisation": 3}))


def test_every_configured_candidate_can_be_built() -> None:
    from pathlib import Path

    params = load_params(Path(__file__).parents[2] / "params.yaml")
    for name in params.candidates:
        build(name, params.models[name])


def test_cold_items_get_scores_through_text(training: Training) -> None:
    keep = training.histories.items != 33
    from dataclasses import replace

    without = replace(training, histories=training.histories.where(keep), timestamp=None)
    ease = EASE(EASEConfig(regularization=5, text_weight=3))
    ease.train(without)
    likes_taste_0 = Histories.of([[0, 3, 6, 9]])
    scores = ease.score(likes_taste_0, "right")[0]
    same = [i for i in range(30) if (i + 30) % 3 == 0]
    other = [i for i in range(30) if (i + 30) % 3 != 0]
    assert scores[3] > np.median(scores[other])
    assert scores[same].mean() > scores[other].mean()
