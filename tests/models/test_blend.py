"""The blend: the contract, honest folds, and weights that follow what is worth trusting."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bridgerec.data.dataset import Cases, Histories, Training
from bridgerec.errors import ArtifactError
from bridgerec.models.base import Candidate, load
from bridgerec.models.blend import FOLDS, Blend, BlendConfig
from bridgerec.models.ease import EASE, EASEConfig
from bridgerec.models.item_knn import ItemKNN
from bridgerec.models.popularity import Popularity
from bridgerec.models.scores import Floats
from bridgerec.testing import CandidateContract
from bridgerec.training.choices import Choices
from bridgerec.training.mixing import learn_mixture


def last_of_each(training: Training, target: str) -> Cases:
    """Everybody's newest item of the target, asked from what came before it."""
    rows, block = training.histories, training.catalogue.block(target)
    newest = (rows.age == 0) & (rows.items >= block.start) & (rows.items < block.stop)
    people = rows.rows[newest]
    history, relevant = rows.where(rows.age > 0).take(people), rows.where(newest).take(people)
    return Cases(target, people, history, relevant)


def members(training: Training, folder: Path) -> dict[str, Candidate]:
    made: dict[str, Candidate] = {
        "popular": Popularity(),  # not in the order of the alphabet
        "knn": ItemKNN(),
        "ease": EASE(EASEConfig(regularization=5)),
    }
    for name, member in made.items():
        member.train(training)
        member.save(folder / name)
    return made


def learned(training: Training, folder: Path, seed: int = 3, **options: object) -> Blend:
    made = members(training, folder)
    config = BlendConfig.model_validate(
        {"members": {n: f"../{n}" for n in made}, "least": 0.0, **options}
    )
    blend = Blend(config, seed)
    blend.learn(made, training, [last_of_each(training, d) for d in training.catalogue.domains])
    return blend


class TestBlend(CandidateContract):
    candidate = Blend

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def fitted(self, training: Training, seed: int = 3) -> list[Candidate]:
        return [learned(training, self.folder, seed)]

    def store(self, candidate: Candidate, folder: Path) -> None:
        assert isinstance(candidate, Blend)
        for name, member in candidate.members.items():
            member.save(self.folder / name)
        candidate.save(folder)


def test_noise_gets_little_weight(training: Training, tmp_path: Path) -> None:
    blend = learned(training, tmp_path)
    for target in training.catalogue.domains:
        cases = last_of_each(training, target)
        weights = blend.mixtures[target][FOLDS].weights(*blend._told(cases.histories, target))
        # everybody's favourite says nothing about taste here
        assert weights[:, 2].mean() < 0.5 * weights[:, :2].mean(0).max()


def test_a_fold_never_sees_its_own_answers(training: Training, tmp_path: Path) -> None:
    """Other answers of the people of one fold change nothing of what that fold is told."""
    made = members(training, tmp_path)
    cases = last_of_each(training, "left")
    mine = cases.users % FOLDS == 0
    wrong = cases.relevant.items.copy()
    wrong[np.isin(cases.relevant.rows, np.flatnonzero(mine))] = 7
    relevant = Histories(cases.relevant.indptr, wrong, cases.relevant.weights)
    scores = []
    for asked in (cases, Cases("left", cases.users, cases.histories, relevant)):
        blend = Blend(BlendConfig(least=0, others=1, top=30), 1)  # no item is left to chance
        blend.learn(made, training, [asked])
        scores.append(blend.cross_score(cases.histories, "left", cases.users))
    np.testing.assert_allclose(scores[0][mine], scores[1][mine], rtol=1e-3, atol=1e-3)
    assert not np.allclose(scores[0][~mine], scores[1][~mine], rtol=1e-2)


def test_goes_on_without_a_missing_member(training: Training, tmp_path: Path) -> None:
    blend = learned(training, tmp_path)
    blend.save(tmp_path / "blend")
    asked = Histories.of([[0, 3, 6]])
    whole = load(tmp_path / "blend").score(asked, "right")
    shutil.rmtree(tmp_path / "knn")
    with pytest.warns(UserWarning, match="without knn"):
        found = load(tmp_path / "blend")
    assert list(found.members) == ["ease", "popular"]
    assert np.corrcoef(found.score(asked, "right")[0], whole[0])[0, 1] > 0.5
    for name in ("ease", "popular"):
        shutil.rmtree(tmp_path / name)
    with (
        pytest.warns(UserWarning, match="without"),
        pytest.raises(ArtifactError, match="none of the blend"),
    ):
        load(tmp_path / "blend")


def test_members_of_no_use_are_left_out(training: Training, tmp_path: Path) -> None:
    blend = learned(training, tmp_path, least=0.9)
    assert "popular" not in blend.members
    assert set(blend.config.members) == set(blend.members)
    assert all(m.a.shape[1] == len(blend.members) for m in blend.mixtures["left"])


def test_a_blend_has_no_training_of_its_own(training: Training) -> None:
    with pytest.raises(ArtifactError, match="blend stage"):
        Blend().train(training)
    with pytest.raises(ArtifactError, match="trained members"):
        Blend().learn({}, training, [])


def choices_of(
    scores: Floats, relevant: NDArray[np.bool_], log_copies: Floats, segment: NDArray[np.int64]
) -> Choices:
    n, width, _ = scores.shape
    items = np.tile(np.arange(width, dtype=np.int32), (n, 1))
    moment = np.zeros(n, dtype=np.int64)
    return Choices(items, scores, relevant, log_copies, segment, np.zeros((n, 1), "f4"), moment)


def test_mixture_finds_the_weights_that_made_the_choices() -> None:
    """Choices drawn from a softmax with known weights per segment."""
    rng = np.random.default_rng(0)
    n, width, true = 4000, 30, np.array([[2.0, 0.5, 0.0], [0.5, 0.0, 1.5]])
    scores = rng.normal(size=(n, width, 3)).astype(np.float32)
    segment = rng.integers(0, 2, n)
    logits = np.einsum("nwm,nm->nw", scores, true[segment])
    chosen = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    relevant = np.arange(width) == chosen[:, None]
    choices = choices_of(scores, relevant, np.zeros((n, width), "f4"), segment)
    found = learn_mixture(choices, 2, regularization=0, steps=100)
    weights = found.weights(np.arange(2), np.zeros((2, 1), dtype=np.float32))
    np.testing.assert_allclose(weights, true, atol=0.15)


def test_copies_make_a_sample_stand_for_the_catalogue() -> None:
    """Half of the wrong items, each counted twice, give the weights of all of them."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(3000, 200, 1)).astype(np.float32)
    logits = 1.5 * scores[:, :, 0]
    chosen = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    order = np.argsort(np.arange(200) != chosen[:, None], axis=1, kind="stable")[:, :100]
    some = np.take_along_axis(scores, order[:, :, None], 1)
    copies = np.full((3000, 100), np.log(199 / 99), dtype=np.float32)
    copies[:, 0] = 0
    chosen_first = np.arange(100) == np.zeros((3000, 1))
    choices = choices_of(some, chosen_first, copies, np.zeros(3000, dtype=np.int64))
    found = learn_mixture(choices, 1, regularization=0, steps=100)
    assert found.weights(np.zeros(1, dtype=np.int64), np.zeros((1, 1), "f4"))[0, 0] == (
        pytest.approx(1.5, abs=0.1)
    )
