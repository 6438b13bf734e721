"""Many models at once give what each gives alone; members of a blend are asked once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bridgerec.data.dataset import Cases, Histories, Part, Training
from bridgerec.evaluation.metrics import ranks
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.ranking import rank_all, update_all
from bridgerec.models.base import Candidate, load
from bridgerec.models.blend import Blend, BlendConfig
from bridgerec.models.ease import EASE, EASEConfig
from bridgerec.models.item_knn import ItemKNN
from bridgerec.models.popularity import Popularity

Scores = NDArray[np.float32]


class Counted(Popularity):
    """Says how often it was asked, and for how many people; learns from validation, as a blend
    does."""

    asked, updates = 0, 0

    def score(self, histories: Histories, target: str) -> Scores:
        self.asked += len(histories)
        return super().score(histories, target) + self.seed * histories.lengths[:, None]

    def cross_score(self, histories: Histories, target: str, users: NDArray[np.int64]) -> Scores:
        return -super().score(histories, target)

    def update(self, known: Training) -> None:
        self.updates += 1
        super().update(known)


def questions(training: Training, target: str = "left") -> Cases:
    rows, block = training.histories, training.catalogue.block(target)
    newest = (rows.age == 0) & (rows.items >= block.start) & (rows.items < block.stop)
    people = rows.rows[newest]
    history, relevant = rows.where(rows.age > 0).take(people), rows.where(newest).take(people)
    return Cases(target, people, history, relevant)


@pytest.fixture
def models(training: Training, tmp_path: Path) -> list[Candidate]:
    """Three models, of which two blends take two and three in another order, before and behind."""
    made: dict[str, Candidate] = {
        "popular": Popularity(),
        "ease": EASE(EASEConfig(regularization=5)),
        "knn": ItemKNN(),
    }
    for name, model in made.items():
        model.train(training)
        model.save(tmp_path / name)
    asked = [questions(training, d) for d in training.catalogue.domains]
    for i, names in enumerate((("popular", "knn"), ("popular", "ease", "knn"))):
        config = BlendConfig(members={n: f"../{n}" for n in names}, least=0)
        blend = Blend(config, i)
        blend.learn({n: made[n] for n in names}, training, asked)
        blend.save(tmp_path / f"blend-{i}")
    loaded: dict[Path, Candidate] = {}
    for name in ("popular", "blend-0", "ease", "knn", "blend-1"):
        loaded[(tmp_path / name).resolve()] = load(tmp_path / name, loaded)
    return list(loaded.values())


def alone(model: Candidate, cases: Cases, part: Part) -> NDArray[np.int64]:
    """Ranks as the model's own answer gives them, block by block."""
    block, found = model.block(cases.target), []
    for start in range(0, len(cases), 16):
        histories, users = cases.histories.batch(start, start + 16), cases.users[start : start + 16]
        scores = (
            model.cross_score(histories, cases.target, users)
            if part == "validation"
            else model.score(histories, cases.target)
        )
        within, wanted = histories.within(block), cases.relevant.batch(start, start + 16)
        seen, relevant = (replace(h, items=h.items - block.start) for h in (within, wanted))
        found.append(ranks(scores, seen, relevant))
    return np.concatenate(found)


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("threads", [1, 3])
def test_together_as_alone(
    models: list[Candidate], training: Training, part: Part, threads: int
) -> None:
    cases, before = questions(training), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = rank_all(models, cases, 5, 16, part)
    finally:
        torch.set_num_threads(before)
    for model, ranking in zip(models, found, strict=True):
        np.testing.assert_array_equal(ranking.rank, alone(model, cases, part))
        single = evaluate(model, cases, 5, 16, part)
        np.testing.assert_array_equal(ranking.rank, single.rank)
        np.testing.assert_array_equal(ranking.top, single.top)
        assert ranking.top.shape == (len(cases), 5)


def test_what_is_loaded_is_not_read_again(models: list[Candidate]) -> None:
    popular, first, ease, knn, second = models
    assert isinstance(first, Blend)
    assert isinstance(second, Blend)
    assert first.members["popular"] is second.members["popular"] is popular
    assert first.members["knn"] is not knn  # was loaded later
    assert second.members == {"ease": ease, "knn": knn, "popular": popular}
    assert not any(model.loaded for model in models)  # nobody keeps the others in memory


def blend_of(member: Candidate, training: Training) -> Blend:
    blend = Blend(BlendConfig(members={"own": ""}, least=0))
    blend.learn({"own": member}, training, [questions(training)])
    return blend


def test_a_member_is_asked_and_updated_once(training: Training) -> None:
    member = Counted()
    member.train(training)
    models = [member, blend_of(member, training), blend_of(member, training)]
    cases, member.asked = questions(training), 0
    rank_all(models, cases, 5, 16, "test")
    assert member.asked == len(cases)
    update_all(models, training)
    assert member.updates == 1


def test_a_blend_gets_what_its_member_tells_others(training: Training) -> None:
    """Also where the member itself answers the people of validation in a way of its own."""
    member = Counted(seed=1)
    member.train(training)
    blend, cases = blend_of(member, training), questions(training)
    own, mixed = rank_all([member, blend], cases, 5, 16, "validation")
    np.testing.assert_array_equal(own.rank, alone(member, cases, "validation"))
    np.testing.assert_array_equal(mixed.rank, alone(blend, cases, "validation"))
    assert (own.rank != mixed.rank).any()
