"""Pictures beside text: they help where they are, and change nothing where there are none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bridgerec.data.dataset import Images, Training
from bridgerec.models.base import Candidate
from bridgerec.models.sequence import Sequence, SequenceConfig
from bridgerec.models.two_tower import TwoTower, TwoTowerConfig
from bridgerec.testing import CandidateContract
from bridgerec.training.fusion import Fusion

TOWERS = TwoTowerConfig(epochs=3, batch_size=32, learning_rate=0.01)
STATES = SequenceConfig(embedding_size=16, layers=1, heads=2, epochs=3, batch_size=32)


def looks(n: int = 60, seed: int = 4) -> Images:
    """Pictures of two items in three, which tell the three tastes apart."""
    rng = np.random.default_rng(seed)
    vectors = np.hstack([np.eye(3)[np.arange(n) % 3], 0.2 * rng.normal(size=(n, 5))])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    present = np.arange(n) % 10 < 7
    vectors[~present] = 0
    return Images(vectors, present)


@pytest.fixture(scope="session")
def plain(training: Training) -> Training:
    return training


@pytest.fixture(scope="session", name="training")
def pictured(training: Training) -> Training:
    return replace(training, images=looks())


class TestTwoTowerWithPictures(CandidateContract):
    candidate = TwoTower
    configs = (TOWERS, TwoTowerConfig(embedding_size=8, epochs=2, adaptor="moe", view_weight=0.1))


class TestSequenceWithPictures(CandidateContract):
    candidate = Sequence
    configs = (STATES,)


def learned(candidate: Candidate, training: Training) -> dict[str, np.ndarray]:
    candidate.train(training)
    return candidate.arrays()


@pytest.mark.parametrize(
    ("kind", "config"), [(TwoTower, TOWERS), (Sequence, STATES)], ids=["two_tower", "sequence"]
)
def test_without_pictures_the_same_is_learned(
    training: Training, kind: type[Candidate], config: TwoTowerConfig | SequenceConfig
) -> None:
    expected = learned(kind(config, 3), replace(training, images=None))
    none = Images(np.zeros((60, 8), dtype=np.float32), np.zeros(60, dtype=bool))
    unused = config.model_copy(update={"images": False})
    for found in (
        learned(kind(config, 3), replace(training, images=none)),
        learned(kind(unused, 3), training),
    ):
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name], name)
    with_pictures = learned(kind(config, 3), training)
    assert with_pictures.keys() == expected.keys()  # what the service loads knows no pictures
    assert not np.array_equal(with_pictures["items"], expected["items"])


def test_a_missing_picture_leaves_the_text_as_it_is() -> None:
    images = looks()
    part = Fusion(images, 16, 5, dropout=0.5, seed=0).eval()
    content, vectors, items = torch.randn(60, 5), torch.randn(60, 16), torch.arange(60)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.normal_()
        found = part(content, vectors, items)
        same = (found == content).all(1).numpy()
        np.testing.assert_array_equal(same, ~images.present)
        seen = torch.from_numpy(images.vectors) * 8**0.5 @ part.project
        gate = (found - content) / (seen - content)  # one number per item
        there = torch.from_numpy(images.present)
        assert (gate[there].std(1) < 1e-3).all()
        assert ((gate[there] > 0) & (gate[there] < 1)).all()
        assert gate[there].mean(1).std() > 0.05  # and of its own
        taken = (part.train()(content, vectors, items) == content).all(1)[there]
    assert 0.25 < taken.float().mean() < 0.75


@pytest.mark.parametrize("kind", [TwoTower, Sequence])
def test_pictures_place_items_that_nobody_met(
    plain: Training, kind: type[TwoTower] | type[Sequence]
) -> None:
    """Texts tell nothing here; a third of the target's items is new."""
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(60, 16)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    fresh = np.arange(60) % 10 < 3
    fresh[:30] = False
    kept = plain.histories.where(~fresh[plain.histories.items])
    images = looks()
    world = replace(plain, vectors=noise, histories=kept, images=images)
    blind = replace(world, images=None)
    config = TOWERS if kind is TwoTower else STATES
    config = config.model_copy(update={"epochs": 12, "learning_rate": 0.01, "batch_size": 16})
    gaps = []
    for training in (world, blind):
        model = kind(config, 3)
        model.train(training)
        scores = model.score(kept, "right")
        new = np.flatnonzero(fresh[30:])
        liked = (np.arange(120) % 3)[:, None] == (new % 3)[None]
        own = scores[:, new]
        own = (own - own.mean(1, keepdims=True)) / own.std(1, keepdims=True)
        gaps.append(own[liked].mean() - own[~liked].mean())
    seen, unseen = gaps
    assert seen > 1
    assert seen > unseen + 0.5
