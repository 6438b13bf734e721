"""Every shipped candidate against the contract, and what is special about each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy import sparse

from bridgerec.config import Model, load_params
from bridgerec.data.dataset import Catalogue, Histories, Training
from bridgerec.errors import ArtifactError, ConfigError
from bridgerec.models.base import build, check_catalogue, load
from bridgerec.models.ease import EASE, EASEConfig
from bridgerec.models.emcdr import EMCDR
from bridgerec.models.ensemble import Ensemble, EnsembleConfig
from bridgerec.models.item_knn import ItemKNN, ItemKNNConfig
from bridgerec.models.linear import FEW, Dual
from bridgerec.models.next_item import next_of
from bridgerec.models.popularity import Popularity, PopularityConfig
from bridgerec.models.sequence import Sequence, SequenceConfig
from bridgerec.models.sparse import matrix
from bridgerec.runtime import read_json, write_json
from bridgerec.testing import CandidateContract
from bridgerec.training.losses import draw


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
        EASEConfig(regularization=5, max_rows=100),  # solved over items
        EASEConfig(regularization=5, text_weight=0.5, max_rows=25),  # and only over some of them
    )


class TestSequence(CandidateContract):
    candidate = Sequence
    configs = (
        SequenceConfig(embedding_size=16, epochs=4, batch_size=32),
        SequenceConfig(embedding_size=16, epochs=4, negatives=8, max_history=5, layers=1),
        SequenceConfig(
            embedding_size=16, epochs=3, batch_size=32, view_weight=0.2, adversarial_weight=0.5
        ),
    )


class TestEnsemble(CandidateContract):
    candidate = Ensemble
    configs = (
        EnsembleConfig(
            of="bridgerec.models.sequence:Sequence",
            copies=2,
            options={"embedding_size": 16, "epochs": 3, "batch_size": 32},
        ),
    )


def test_an_ensemble_is_the_mean_of_its_copies(training: Training) -> None:
    options = {"embedding_size": 8, "epochs": 1}
    found = Ensemble(
        EnsembleConfig(of="bridgerec.models.sequence:Sequence", copies=3, options=options), seed=5
    )
    found.train(training)
    assert len({copy.seed for copy in found.copies}) == 3
    asked, target = training.histories.batch(0, 9), training.catalogue.domains[0]
    alone = [copy.score(asked, target) for copy in found.copies]
    assert not np.allclose(alone[0], alone[1])
    spread = [(a - a.mean(1, keepdims=True)) / a.std(1, keepdims=True) for a in alone]
    np.testing.assert_allclose(found.score(asked, target), np.mean(spread, axis=0), 1e-4, 1e-5)


def test_an_ensemble_of_nothing_sensible_is_refused() -> None:
    of = "bridgerec.models.sequence:Sequence"
    with pytest.raises(ConfigError, match="epoch: Extra inputs"):
        build(
            "pair",
            Model.model_validate(
                {"use": "bridgerec.models.ensemble:Ensemble", "of": of, "options": {"epoch": 2}}
            ),
        )


class TestEMCDR(CandidateContract):
    candidate = EMCDR


@pytest.mark.parametrize("between", [True, False])
@pytest.mark.parametrize(("max_rows", "form"), [(1000, "Dual"), (100, "Primal")])
def test_ease_equals_the_paper(training: Training, max_rows: int, form: str, between: bool) -> None:
    """Against Steck's primal closed form, B = I - P diag(1 / diag P)."""
    config = EASEConfig(
        regularization=7, text_weight=0.5, text_between_domains=between, max_rows=max_rows
    )
    ours = EASE(config)
    ours.train(training)
    assert training.vectors is not None
    assert type(ours.parts["all"]).__name__ == form
    text = 0.5 * training.vectors.T
    if not between:
        left = np.arange(60) < 30
        text = np.vstack([text * left, text * ~left])
    a = np.vstack([matrix(training.histories, 60).toarray(), text])
    p = np.linalg.inv(a.T.astype(np.float64) @ a + 7 * np.eye(60))
    b = np.eye(60) - p / np.diag(p)
    h = matrix(training.histories, 60).toarray()
    expected = (h @ b)[:, 30:]
    np.testing.assert_allclose(ours.score(training.histories, "right"), expected, atol=2e-4)


def test_ease_answers_one_as_it_answers_many() -> None:
    """Of somebody whose items few people met, most of the inverse is not looked at."""
    rng = np.random.default_rng(0)
    x = sparse.random(400, 60, 0.03, "csr", dtype=np.float32, rng=rng)
    v = rng.normal(size=(60, 8)).astype(np.float32)
    dual = Dual.solve(x, v, 7.0)
    a = np.vstack([x.toarray(), v.T]).astype(np.float64)
    p = np.linalg.inv(a.T @ a + 7 * np.eye(60))
    h = sparse.random(50, 60, 0.05, "csr", dtype=np.float32, rng=rng)
    expected = (h @ (np.eye(60) - p / np.diag(p)))[:, 20:]
    met = h @ x.T
    assert met[0].nnz < 400 // FEW < met.nnz
    np.testing.assert_allclose(dual.score(h, slice(20, 60)), expected, atol=2e-4)
    one = [dual.score(h[i], slice(20, 60))[0] for i in range(50)]
    np.testing.assert_allclose(one, expected, atol=2e-4)


def test_ease_regresses_rare_items_on_the_most_met_ones(training: Training) -> None:
    """Against the closed form over the kept items, and a ridge regression for each other one."""
    ours = EASE(EASEConfig(regularization=7, text_weight=0.5, max_rows=40))
    ours.train(training)
    assert training.vectors is not None
    x = matrix(training.histories, 60, weighted=True).toarray()
    kept = np.sort(np.argsort(-x.sum(0), kind="stable")[:40])
    a = np.vstack([x, 0.5 * training.vectors.T]).astype(np.float64)
    p = np.linalg.inv(a[:, kept].T @ a[:, kept] + 7 * np.eye(40))
    b = p @ a[:, kept].T @ a
    b[:, kept] = np.eye(40) - p / np.diag(p)
    h = matrix(training.histories, 60).toarray()[:, kept]
    for target, block in (("left", slice(0, 30)), ("right", slice(30, 60))):
        ours_scores = ours.score(training.histories, target)
        np.testing.assert_allclose(ours_scores, (h @ b)[:, block], atol=2e-4)


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
    assert training.histories.timestamp is not None
    recent = Popularity(PopularityConfig(half_life_days=0.001))
    recent.train(training)
    newest = int(training.histories.items[training.histories.timestamp.argmax()])
    domain = "left" if newest < 30 else "right"
    found = recent.score(Histories.of([[]]), domain)[0]
    assert found.argmax() == newest - training.catalogue.block(domain).start


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
    without = replace(training, histories=training.histories.where(keep))
    ease = EASE(EASEConfig(regularization=5, text_weight=3))
    ease.train(without)
    likes_taste_0 = Histories.of([[0, 3, 6, 9]])
    scores = ease.score(likes_taste_0, "right")[0]
    same = [i for i in range(30) if (i + 30) % 3 == 0]
    other = [i for i in range(30) if (i + 30) % 3 != 0]
    assert scores[3] > np.median(scores[other])
    assert scores[same].mean() > scores[other].mean()


def test_a_stronger_event_counts_more_but_damped(training: Training) -> None:
    drawn = np.random.default_rng(0).choice([1, 50], len(training.histories.items))
    weights = drawn.astype(np.float32)
    louder = replace(training, histories=replace(training.histories, weights=weights))
    for candidate in (Popularity(), ItemKNN(), EASE(EASEConfig(regularization=5)), EMCDR()):
        candidate.train(training)
        before = candidate.score(Histories.of([[4, 10]]), "left")[0]
        candidate.train(louder)
        after = candidate.score(Histories.of([[4, 10]]), "left")[0]
        assert not np.allclose(before, after)
    assert Histories(np.array([0, 2]), np.array([1, 2]), np.array([0.5, np.e])).strength == (
        pytest.approx([0.5, 2.0])
    )


def test_logq_makes_the_sampled_sum_unbiased() -> None:
    """The mean of the estimated sum over many draws is the sum over all items."""
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.full(500, 0.3)) * 0.9 + 0.1 / 500
    weight = np.exp(rng.normal(size=500))
    estimates = []
    for _ in range(3000):
        drawn, log_q = draw(share, 64, rng)
        estimates.append((weight[drawn] * np.exp(-log_q)).sum())
    error = np.std(estimates) / len(estimates) ** 0.5
    assert abs(np.mean(estimates) - weight.sum()) < 4 * error


def test_a_model_of_other_items_is_refused(training: Training) -> None:
    popularity = Popularity()
    popularity.train(training)
    items = training.catalogue.items
    other = Catalogue(items.with_columns(("x" + pl.col("item_id")).alias("item_id")))
    check_catalogue(popularity, training.catalogue)
    with pytest.raises(ArtifactError, match="other ones"):
        check_catalogue(popularity, other)


def test_next_of_by_hand() -> None:
    inside = torch.tensor([[False, True, False, False, True, False]])
    assert next_of(inside).tolist() == [[1, 1, 4, 4, 4, -1]]


def test_sequence_knows_the_order_and_carries_taste_over(training: Training) -> None:
    sequence = Sequence(SequenceConfig(embedding_size=16, epochs=15, batch_size=32))
    sequence.train(training)
    left = Histories.of([[0, 3, 6], [1, 4, 7], [6, 3, 0]])
    scores = sequence.score(left, "right")
    assert not np.allclose(scores[0], scores[2])  # the same items in another order
    for row, taste in ((0, 0), (1, 1)):
        same = scores[row, np.arange(30, 60) % 3 == taste].mean()
        assert same > scores[row, np.arange(30, 60) % 3 != taste].mean()


def test_a_sequence_from_before_there_was_a_choice_of_width_still_loads(
    training: Training, tmp_path: Path
) -> None:
    sequence = Sequence(SequenceConfig(embedding_size=16, epochs=1, batch_size=32, widening=4))
    sequence.train(training)
    sequence.save(tmp_path / "old")
    meta = read_json(tmp_path / "old" / "model.json")
    assert meta["config"].pop("widening") == 4
    write_json(tmp_path / "old" / "model.json", meta)
    left = Histories.of([[0, 3, 6]])
    scores = load(tmp_path / "old").score(left, "right")
    assert scores == pytest.approx(sequence.score(left, "right"), rel=1e-5, abs=1e-5)
