"""Ranking metrics: cases by hand, an independent implementation, and properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from bridgerec.data.dataset import Histories
from bridgerec.errors import ArtifactError
from bridgerec.evaluation.judge import _better_relevant
from bridgerec.evaluation.metrics import case_metrics, list_metrics, ranks, sampled_metrics
from bridgerec.evaluation.protocol import _adjust
from bridgerec.evaluation.significance import Bootstrap, holm

NOTHING = Histories.of([[]])


def resamples(n: int) -> Bootstrap:
    return Bootstrap(n, 50, 0.95, 0)


def one(scores: list[float], relevant: list[int], seen: list[int] | None = None) -> list[int]:
    asked = np.array([scores], dtype=np.float32)
    return ranks(asked, Histories.of([seen or []]), Histories.of([relevant])).tolist()


def test_ranks_by_hand() -> None:
    assert one([0.9, 0.1, 0.5, 0.7], [2]) == [3]
    assert one([0.9, 0.1, 0.5, 0.7], [2], seen=[0]) == [2]
    assert one([0.9, 0.1, 0.5, 0.7], [1, 0]) == [4, 1]


def test_ties_count_against_the_model() -> None:
    assert one([1.0] * 10, [4]) == [10]
    assert one([1.0] * 10, [4, 7]) == [9, 10]


def test_a_constant_scorer_gains_nothing_from_ties() -> None:
    rank = np.concatenate([one([0.0] * 50, [i]) for i in range(50)])
    found = case_metrics(rank, np.arange(51), [10])
    assert found["hr@10"].mean() <= 10 / 50


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ArtifactError, match="not finite"):
        one([float("nan"), 1.0], [0])


def test_metrics_by_hand() -> None:
    found = case_metrics(np.array([1, 3, 12]), np.array([0, 3]), [5])
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert found["precision@5"][0] == pytest.approx(2 / 5)
    assert found["recall@5"][0] == pytest.approx(2 / 3)
    assert found["f1@5"][0] == pytest.approx(2 * 0.4 * (2 / 3) / (0.4 + 2 / 3))
    assert found["ndcg@5"][0] == pytest.approx((1 + 1 / 2) / ideal)
    assert found["hr@5"][0] == 1
    assert found["mrr@5"][0] == 1
    assert found["map@5"][0] == pytest.approx((1 + 2 / 3) / 3)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.data())
def test_against_scikit_learn(n: int, data: st.DataObject) -> None:
    relevant = data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=n))
    scores = np.array(data.draw(st.permutations(range(n))), dtype=np.float32)
    truth = np.isin(np.arange(n), list(relevant)).astype(int)
    rank = ranks(scores[None], NOTHING, Histories.of([sorted(relevant)]))
    found = case_metrics(rank, np.array([0, len(rank)]), [5, n])
    assert found["ndcg@5"][0] == pytest.approx(ndcg_score(truth[None], scores[None], k=5))
    expected = average_precision_score(truth, scores)
    assert found[f"map@{n}"][0] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8, unique=True))
def test_metrics_lie_in_the_unit_interval_and_better_ranks_never_hurt(rank: list[int]) -> None:
    asked = np.array(sorted(rank))
    better = np.arange(1, len(rank) + 1)
    indptr = np.array([0, len(rank)])
    low, high = case_metrics(asked, indptr, [5, 10]), case_metrics(better, indptr, [5, 10])
    for name in low:
        assert 0 <= low[name][0] <= high[name][0] + 1e-12 <= 1 + 1e-9


def test_sampled_metrics_equal_their_monte_carlo_estimate() -> None:
    rng = np.random.default_rng(0)
    rank, pool, negatives = 13, 200, 50
    exact = sampled_metrics(np.array([rank]), np.array([pool]), negatives, [10])
    better = np.array(
        [(rng.permutation(pool - 1)[:negatives] < rank - 1).sum() for _ in range(8000)]
    )
    assert exact[f"sampled{negatives}_hr@10"][0] == pytest.approx((better < 10).mean(), abs=0.02)
    gain = np.where(better < 10, 1 / np.log2(better + 2), 0).mean()
    assert exact[f"sampled{negatives}_ndcg@10"][0] == pytest.approx(gain, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.data())
def test_sampled_metrics_equal_scipys_hypergeometric(pool: int, data: st.DataObject) -> None:
    from scipy.stats import hypergeom

    rank = data.draw(st.integers(1, pool))
    negatives = data.draw(st.integers(1, 400))
    found = sampled_metrics(np.array([rank]), np.array([pool]), negatives, [5])
    total = max(pool - 1, 1)
    mass = hypergeom.pmf(np.arange(5), total, rank - 1, min(negatives, total))
    assert found[f"sampled{negatives}_hr@5"][0] == pytest.approx(mass.sum(), abs=1e-9)


def test_list_metrics_at_their_ends() -> None:
    same = list_metrics(np.zeros((5, 1), dtype=np.int64), np.ones(10), 1, resamples(5))
    spread = list_metrics(np.arange(10)[:, None], np.ones(10), 1, resamples(10))
    assert same["coverage@1"] == pytest.approx((0.1, 0.1, 0.1))
    assert spread["coverage@1"][0] == 1
    assert same["gini@1"] == pytest.approx((0.9, 0.9, 0.9))
    assert spread["gini@1"][0] == pytest.approx(0)


def test_list_metrics_by_hand_with_intervals() -> None:
    """Three people, lists of two out of four items; item 0 has half of the training rows."""
    top = np.array([[0, 1], [0, 2], [0, 1]])
    found = list_metrics(top, np.array([3.0, 0, 0, 0]), 2, resamples(3))
    assert found["coverage@2"][0] == 0.75
    shown = np.array([0, 1, 2, 3])  # times shown, in rising order
    assert found["gini@2"][0] == pytest.approx(
        np.abs(shown[:, None] - shown).sum() / (2 * 16 * shown.mean())
    )
    novelty = -np.log2(np.array([4, 1, 1, 1]) / 7)
    assert found["novelty@2"][0] == pytest.approx(novelty[top].mean())
    for value, low, high in found.values():
        assert low - 1e-9 <= value <= high + 1e-9


def test_better_relevant_counts_inside_a_case() -> None:
    rank = np.array([7, 3, 9, 2, 1])
    assert _better_relevant(rank, np.array([0, 3, 5])).tolist() == [1, 0, 2, 1, 0]


def test_holm_counts_a_pair_once() -> None:
    rows = [
        {"split": "s", "target": "t", "candidate": a, "against": b, "p_value": p}
        for (a, b), p in {
            ("x", "y"): 0.01, ("y", "x"): 0.01, ("x", "z"): 0.02, ("z", "x"): 0.02,
            ("y", "z"): 0.5, ("z", "y"): 0.5,
        }.items()
    ]  # fmt: skip
    _adjust(rows)
    assert [r["p_holm"] for r in rows] == pytest.approx([0.03, 0.03, 0.04, 0.04, 0.5, 0.5])


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(0), 0
    for trial in range(200):
        values = rng.exponential(1.0, (150, 1))
        bootstrap = Bootstrap(150, 300, 0.95, trial)
        low, high = bootstrap.intervals(values, np.ones(150, dtype=bool))
        inside += int(low[0] <= 1.0 <= high[0])
    assert 0.88 <= inside / 200 <= 0.99


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
