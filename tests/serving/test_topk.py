"""The k best against a full sort, with ties, hidden items and both memory orders."""

import numpy as np
import pytest

from bridgerec.serving.topk import Best, hide, top_k, top_rows


def sorted_fully(row: np.ndarray, k: int, hidden: list[int]) -> list[int]:
    order = sorted((i for i in range(len(row)) if i not in hidden), key=lambda i: (-row[i], i))
    return order[:k]


@pytest.mark.parametrize("n", [1, 7, 100, 3001])
@pytest.mark.parametrize("values", [2, 50, None])
@pytest.mark.parametrize("order", ["C", "F"])
def test_equals_a_full_sort(n: int, values: int | None, order: str) -> None:
    rng = np.random.default_rng(n)
    scores = rng.standard_normal((9, n)).astype(np.float32)
    if values is not None:  # many ties, at the edge of the k best too
        scores = rng.integers(values, size=(9, n)).astype(np.float32)
    ks = [1, 2, 3, 10, 10, 10, 50, 200, n]
    hidden = [rng.choice(n, size=min(n, h), replace=False).tolist() for h in range(9)]
    expected = [sorted_fully(row, k, own) for row, k, own in zip(scores, ks, hidden, strict=True)]
    found = top_rows(np.array(scores, order=order), ks, hidden)
    assert [best.places.tolist() for best in found] == expected
    for row, best in zip(scores, found, strict=True):
        np.testing.assert_array_equal(best.scores, row[best.places])


def test_a_row_alone_is_as_in_the_batch() -> None:
    scores = np.random.default_rng(0).integers(30, size=(16, 5000)).astype(np.float32)
    together = top_rows(scores.copy(), [20] * 16, [[]] * 16)
    for row, best in zip(scores, together, strict=True):
        alone = top_rows(row[None].copy(), [20], [[]])[0]
        assert alone.places.tolist() == best.places.tolist()


def test_everything_hidden_and_nothing_asked() -> None:
    scores = np.zeros((2, 5), dtype=np.float32)
    best = top_rows(scores.copy(), [3, 3], [range(5), [0, 1, 2, 3]])
    assert [b.places.tolist() for b in best] == [[], [4]]
    assert top_rows(np.zeros((0, 5), dtype=np.float32), [], []) == []
    assert isinstance(top_rows(scores, [0, 0], [[], []])[0], Best)
    hide(scores, [[], [2]])
    assert scores[1, 2] == -np.inf
    assert np.isfinite(scores[0]).all()


def test_one_row_by_a_mask() -> None:
    rng = np.random.default_rng(3)
    scores, open_ = rng.integers(5, size=400).astype(float), rng.random(400) < 0.3
    closed = np.flatnonzero(~open_).tolist()
    assert top_k(scores, open_, 25).tolist() == sorted_fully(scores, 25, closed)
    assert top_k(scores, open_, 1000).tolist() == sorted_fully(scores, 400, closed)
    assert top_k(scores, np.zeros(400, dtype=bool), 5).tolist() == []
