"""The classical candidates against the contract and against independent implementations."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from bridgerec.data.dataset import Histories, Training
from bridgerec.errors import ConfigError
from bridgerec.models.factors import factorise, fold_in, scaled
from bridgerec.models.ials import IALS, IALSConfig
from bridgerec.models.item2vec import Item2Vec, Item2VecConfig
from bridgerec.models.sequential_rules import SequentialRules, SequentialRulesConfig
from bridgerec.models.sparse import matrix
from bridgerec.testing import CandidateContract


class TestIALS(CandidateContract):
    candidate = IALS
    configs = (
        IALSConfig(embedding_size=8, iterations=3, reg=5),
        IALSConfig(embedding_size=8, iterations=3, source_domains=False, reg=5, reg_power=0),
    )


class TestItem2Vec(CandidateContract):
    candidate = Item2Vec
    configs = (
        Item2VecConfig(embedding_size=8, epochs=5, subsample=0),
        Item2VecConfig(embedding_size=8, epochs=5, subsample=0, output_vectors=True),
    )


class TestSequentialRules(CandidateContract):
    candidate = SequentialRules
    configs = (
        SequentialRulesConfig(),
        SequentialRulesConfig(backward=0, shrink=0, window=100),
    )


def test_fold_in_equals_implicit(training: Training) -> None:
    """One step of exact ALS for every person, given the items' factors."""
    als = pytest.importorskip("implicit.cpu._als")
    x = matrix(training.histories, 60)
    items = np.random.default_rng(0).normal(0, 0.5, (60, 8)).astype(np.float32)
    theirs = np.zeros((x.shape[0], 8), dtype=np.float32)
    # its strengths are confidences: 1 + alpha times ours
    confidence = x.copy()
    confidence.data = 1 + 10 * confidence.data
    als.least_squares(confidence, theirs, items, 2.0, num_threads=1)
    np.testing.assert_allclose(fold_in(x, items, 10.0, 2.0), theirs, rtol=1e-3, atol=1e-4)


def test_factors_minimise_the_loss_of_the_paper(training: Training) -> None:
    """The gradient of Hu et al.'s loss, with Rendle et al.'s regularisation, vanishes."""
    x = matrix(training.histories, 60)
    items = factorise(x, 4, 300, 5.0, 2.0, 0, reg_power=1.0)
    dense = x.toarray().astype(np.float64)
    by_person, by_item = scaled(x, 5.0, 2.0, 1.0), scaled(x.T.tocsr(), 5.0, 2.0, 1.0)
    np.testing.assert_allclose(by_person, 2 * (1 + 5 * dense.sum(1) / 60), rtol=1e-5)
    people = fold_in(x, items, 5.0, by_person).astype(np.float64)
    error = (1 + 5 * dense) * (people @ items.T - (dense > 0))
    gradient = error.T @ people + by_item[:, None] * items
    assert np.abs(items).max() > 0.1
    assert np.abs(gradient).max() < 0.02


def test_sequential_rules_equal_a_loop_over_pairs(training: Training) -> None:
    c = SequentialRulesConfig(window=3, decay=0.7, backward=0.4, shrink=2, recency=0.6)
    ours = SequentialRules(c)
    ours.train(training)
    rows = [training.histories.batch(i, i + 1).items.tolist() for i in range(len(training.users))]
    rule, count = np.zeros((60, 60)), np.full(60, float(c.shrink))
    for row in rows:
        for b, after in enumerate(row):
            count[after] += 1
            for a in range(max(0, b - c.window), b):
                if row[a] != after:
                    rule[row[a], after] += c.decay ** (b - a - 1)
                    rule[after, row[a]] += c.backward * c.decay ** (b - a - 1)
    rule /= np.outer(count**c.lead_power, count**c.follow_power)
    history = [5, 31, 9, 40]
    expected = sum(c.recency ** (3 - i) * rule[item, 30:] for i, item in enumerate(history))
    np.testing.assert_allclose(
        ours.score(Histories.of([history]), "right")[0], expected, rtol=1e-4, atol=1e-6
    )


def test_sequential_rules_know_the_direction(training: Training) -> None:
    """a is always followed by b; only the forward rule may say so."""
    chain = Histories.of([[0, 1, 2]] * 20 + [[7, 8, 9]] * 20)
    chained = replace(training, users=np.arange(40), histories=chain)
    forward = SequentialRules(SequentialRulesConfig(backward=0))
    forward.train(chained)
    scores = forward.score(Histories.of([[1]]), "left")[0]
    assert scores.argmax() == 2
    assert scores[0] == 0


PROGRAM = """
import hashlib, pickle, sys
from bridgerec.models.item2vec import Item2Vec, Item2VecConfig
model = Item2Vec(Item2VecConfig(embedding_size=8, epochs=2), 5)
model.train(pickle.load(sys.stdin.buffer))
print(hashlib.sha256(model.items.tobytes()).hexdigest())
"""


def test_item2vec_is_the_same_in_every_process(training: Training) -> None:
    """Whatever Python's hash seed is; gensim knows how to hash strings with it."""
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=pickle.dumps(training),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_item2vec_puts_items_of_one_taste_together(training: Training) -> None:
    model = Item2Vec(Item2VecConfig(embedding_size=8, epochs=20, subsample=0))
    model.train(training)
    left = model.score(Histories.of([[0, 3, 6]]), "right")[0]
    assert left[np.arange(30, 60) % 3 == 0].min() > left[np.arange(30, 60) % 3 != 0].max()


def test_item2vec_without_gensim_tells_the_remedy(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(ConfigError, match=r"bridgerec\[classical\]"):
        Item2Vec().train(training)
