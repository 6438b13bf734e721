"""The semantic-alignment family: two towers and their parts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bridgerec.data.dataset import Histories, Training
from bridgerec.models.two_tower import TwoTower, TwoTowerConfig
from bridgerec.testing import CandidateContract
from bridgerec.training.adversarial import adversarial
from bridgerec.training.augment import augment
from bridgerec.training.graph import propagate
from bridgerec.training.item_tower import Adaptor, ItemTower
from bridgerec.training.user_tower import UserTower


class TestTwoTower(CandidateContract):
    candidate = TwoTower
    configs = (
        TwoTowerConfig(epochs=3, batch_size=32, learning_rate=0.01),
        TwoTowerConfig(
            embedding_size=8, epochs=2, batch_size=32, negatives=16, max_history=6, adaptor="mlp",
            attention=True, half_lives=(), propagation=2,
        ),
        TwoTowerConfig(
            epochs=2, batch_size=32, adaptor="moe", person_weight=0.1, item_weight=0.1,
            view_weight=0.1, adversarial_weight=0.5,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("adaptor", ["linear", "mlp", "moe"])
def test_an_item_tower_starts_from_the_frozen_vectors(adaptor: Adaptor) -> None:
    vectors = torch.nn.functional.normalize(torch.randn(20, 32), dim=1)
    tower = ItemTower(32, 32, 20, adaptor).eval()
    assert (tower(vectors, torch.arange(20)) * vectors).sum(1).min() > 0.9


def test_a_user_tower_by_hand() -> None:
    tower = UserTower(3, 2, 4, recency=0.5, attention=False)
    entries, kind = torch.eye(3)[None], torch.tensor([[0, 1, 0]])
    visible = torch.tensor([[[True, True, True], [False, True, False], [False, False, False]]])
    found = tower(entries, kind, visible, torch.tensor([[0, 0, 1]]))[0]
    expected = torch.tensor([0.25, 0.5, 1.0])
    torch.testing.assert_close(found[0], expected / expected.norm())
    torch.testing.assert_close(found[1:], torch.tensor([[0.0, 1, 0], [0, 0, 0]]))


def test_augmented_histories_keep_their_owner_and_most_of_their_items() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, 400)
    rows = Histories.of([list(range(100 * i, 100 * i + n)) for i, n in enumerate(lengths)])
    changed = augment(rows, 0.3, rng)
    assert (changed.items // 100 == changed.rows).all()
    assert (changed.lengths >= 1).all()
    pairs = changed.items[:-1] > changed.items[1:]
    assert 0 < pairs.sum() < 0.2 * len(pairs)
    assert 0.7 < len(changed.items) / len(rows.items) < 0.9
    assert len(np.unique(changed.items)) == len(changed.items)


def test_the_adversary_moves_along_the_gradient() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 2.0]], requires_grad=True)
    loss = adversarial(lambda v: (v**2).sum() / 2, vectors, epsilon=1.0, weight=0.5)
    assert loss.item() == pytest.approx((25 + 4) / 2 + 0.5 * (36 + 9) / 2)


def test_the_adversary_meets_the_same_dropout() -> None:
    torch.manual_seed(0)
    vectors, masks = torch.ones(4, 3, requires_grad=True), []

    def loss_of(found: torch.Tensor) -> torch.Tensor:
        masks.append(torch.rand(4, 1) < 0.5)
        return (found * masks[-1]).sum()

    adversarial(loss_of, vectors, epsilon=1.0, weight=1.0)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(torch.rand(4, 1), masks[0])  # and the draws after it are new ones


def test_augmented_times_stay_in_order() -> None:
    rng = np.random.default_rng(1)
    rows = Histories.of([list(range(12))] * 50)
    rows = replace(rows, timestamp=np.tile(np.arange(12) * 60, 50))
    changed = augment(rows, 0.5, rng)
    assert changed.timestamp is not None
    same = changed.rows[1:] == changed.rows[:-1]
    assert (np.diff(changed.timestamp)[same] > 0).all()
    assert not np.array_equal(changed.items * 60, changed.timestamp)


def test_propagation_equals_the_dense_computation() -> None:
    vectors = np.eye(4, dtype=np.float32)
    found = propagate(vectors, Histories.of([[0, 1], [1, 2]]), 2)
    met = np.array([[1, 1, 0, 0], [0, 1, 1, 0]]) / np.sqrt(2)
    met = met / np.sqrt([1, 2, 1, 1])
    step = met.T @ met
    expected = np.eye(4) + step + step @ step
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(propagate(vectors, Histories.of([[0, 1]]), 0), vectors)


def test_cold_items_and_new_people_are_served_by_meaning(training: Training) -> None:
    keep = training.histories.items != 33
    without = replace(training, histories=training.histories.where(keep))
    towers = TwoTower(TwoTowerConfig(epochs=8, batch_size=32, learning_rate=0.01))
    towers.train(without)
    scores = towers.score(Histories.of([[0, 3, 6, 9]]), "right")[0]  # nothing of the target yet
    taste = np.arange(30, 60) % 3
    assert scores[taste == 0].mean() > scores[taste != 0].mean()
    assert scores[3] > np.median(scores[taste != 0])
