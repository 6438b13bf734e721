"""The second look at a mixture's first items: what it learns, and how it answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bridgerec.data.dataset import Cases, Histories, Training
from bridgerec.models.blend import Blend, BlendConfig
from bridgerec.models.item_knn import ItemKNN
from bridgerec.models.scores import Floats
from bridgerec.models.second_look import SecondLook, person_of
from bridgerec.models.trends import Trends
from bridgerec.training.choices import PADDING, Choices
from bridgerec.training.lists import Lists
from bridgerec.training.mixing import Mixture
from bridgerec.training.reranking import Listing, Reranker, learn_reranker

HALF_LIVES = (1.0,)
WIDTH = 40
EQUAL = Mixture(np.ones((1, 2), "f4"), np.zeros((1, 2), "f4"), np.ones(2, "f4"))


def chosen(training: Training, n: int, both: float, seed: int = 0) -> Choices:
    """Choices from two members' scores; `both` is worth having high scores from the two at once,
    which no weighted sum can say."""
    rng = np.random.default_rng(seed)
    width = min(WIDTH, training.catalogue.block("left").stop)
    scores = rng.normal(size=(n, width, 2)).astype(np.float32)
    logits = scores.sum(2) + both * ((scores > 0.5).all(2))
    picked = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    return Choices(
        np.tile(np.arange(width, dtype=np.int32), (n, 1)), scores,
        np.arange(width) == picked[:, None], np.zeros((n, width), "f4"),
        np.zeros(n, dtype=np.int64), np.zeros((n, 1), "f4"), np.zeros(n, dtype=np.int64),
    )  # fmt: skip


def looked(training: Training, choices: Choices, top: int = 30) -> SecondLook:
    second, fold = SecondLook(top), np.arange(len(choices.scores)) % 2
    second.learn(
        "left", training.catalogue.block("left"), [EQUAL] * 3, choices, fold,
        Trends.fit(training, HALF_LIVES), 0,
    )  # fmt: skip
    return second


def test_learns_what_no_weighted_sum_can_say(training: Training) -> None:
    second = looked(training, chosen(training, 2000, both=4.0))
    own = second.rerankers["left"][2]
    rest = np.zeros(own.inner.shape[0] - 2, dtype=np.float32)

    def score(*members: float) -> float:
        return float(own.score(np.concatenate([np.float32(members), rest])[None, None])[0, 0])

    base = score(-0.5, -0.5)
    one, two, both = (score(*m) - base for m in ((1.5, -0.5), (-0.5, 1.5), (1.5, 1.5)))
    assert both > 1.15 * (one + two)


def test_stays_away_where_it_does_not_help(training: Training) -> None:
    """Nothing but the sum of the scores counts, and few people chose."""
    second = looked(training, chosen(training, 60, both=0.0))
    assert not second.rerankers


def test_nothing_is_learned_from_lists_that_hold_nothing_met() -> None:
    empty = Listing(np.zeros((4, 5, 3), "f4"), np.zeros((4, 5), bool), np.ones((4, 5), "f4"))
    assert learn_reranker(empty, 0) is None


def answered(training: Training, mixed: Floats, top: int) -> tuple[Floats, NDArray[np.int64]]:
    rng, n = np.random.default_rng(1), len(mixed)
    second = SecondLook(top)
    numbers = 2 + 1 + 2  # members, half-lives, what is told of a person
    second.rerankers["left"] = [
        Reranker(
            np.zeros(numbers, "f4"), np.ones(numbers, "f4"),
            *(rng.normal(size=size).astype("f4") for size in ((numbers, 8), 8, 8, numbers)),
        )
        for _ in range(3)
    ]  # fmt: skip
    members = [rng.normal(size=mixed.shape).astype("f4") for _ in range(2)]
    person = person_of(np.zeros(n, dtype=np.int64), np.zeros((n, 1), "f4"))
    found = second(
        "left", training.catalogue.block("left"), mixed, members, Histories.of([[0]] * n),
        np.arange(n) % 3, person, Trends.fit(training, HALF_LIVES),
    )  # fmt: skip
    return found, np.argsort(-mixed, axis=1)


@pytest.mark.parametrize("top", [5, 10_000])
def test_the_others_keep_their_order_behind_the_first(training: Training, top: int) -> None:
    size = training.catalogue.block("left").stop
    mixed = np.random.default_rng(0).normal(size=(7, size)).astype("f4")
    found, order = answered(training, mixed, top)
    assert np.isfinite(found).all()
    first, rest = order[:, :top], order[:, top:]
    if rest.shape[1]:
        behind = np.take_along_axis(found, rest, axis=1)
        assert (np.diff(behind, axis=1) <= 0).all()
        assert (np.take_along_axis(found, first, axis=1).min(1) > behind.max(1)).all()
    assert not (np.diff(np.take_along_axis(found, first, axis=1), axis=1) <= 0).all()


def test_an_answer_does_not_depend_on_its_neighbours(training: Training) -> None:
    size = training.catalogue.block("left").stop
    mixed = np.random.default_rng(0).normal(size=(6, size)).astype("f4")
    other = mixed.copy()
    other[1:] = np.random.default_rng(5).normal(size=(5, size))
    np.testing.assert_array_equal(
        answered(training, mixed, 5)[0][0], answered(training, other, 5)[0][0]
    )


def test_ndcg_of_lists_by_hand() -> None:
    scores = np.float32([[3, 2, 1], [1, 1, 0], [PADDING, 5, 4]])
    relevant = np.array([[False, True, False], [True, False, False], [False, True, True]])
    found = Lists(relevant, np.array([1, 2, 2])).ndcg(scores)
    second = 1 / np.log2(3)
    np.testing.assert_allclose(found, [second, second / (1 + second), 1.0])


def test_ndcg_of_lists_looks_at_ten_and_at_a_hundred() -> None:
    scores, relevant = -np.arange(120, dtype="f4")[None].repeat(3, 0), np.zeros((3, 120), bool)
    relevant[[0, 1, 2], [9, 50, 100]] = True
    found = Lists(relevant, np.array([1, 1, 1])).ndcg(scores)
    np.testing.assert_allclose(found, [1 / np.log2(11), 0.5 / np.log2(52), 0.0])


def test_survives_a_disk(training: Training, tmp_path: Path) -> None:
    second = looked(training, chosen(training, 800, both=4.0))
    again = SecondLook(second.top)
    again.restore(second.arrays())
    x = np.random.default_rng(2).normal(size=(3, 4, 5)).astype("f4")[:, :, : 2 + 1 + 2]
    for one, other in zip(second.rerankers["left"], again.rerankers["left"], strict=True):
        np.testing.assert_array_equal(one.score(x), other.score(x))


@pytest.mark.parametrize(
    ("rerank", "one_moment", "tried"), [(30, False, 1), (30, True, 0), (0, False, 0)]
)
def test_is_tried_where_it_is_wanted_and_moments_differ(
    training: Training, monkeypatch: pytest.MonkeyPatch, rerank: int, one_moment: bool, tried: int
) -> None:
    targets: list[str] = []
    monkeypatch.setattr(SecondLook, "learn", lambda self, target, *_: targets.append(target))
    knn = ItemKNN()
    knn.train(training)
    rows = training.histories.take(np.arange(8))
    if one_moment:
        rows = replace(rows, asked=np.full(8, 10**9))
    wanted = Histories.of([[training.catalogue.block("left").start]] * 8)
    blend = Blend(BlendConfig(rerank=rerank, least=0), 1)
    blend.learn({"knn": knn}, training, [Cases("left", training.users[:8], rows, wanted)])
    assert len(targets) == tried
