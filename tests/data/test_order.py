"""The radix order against numpy's own sorts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridgerec.data.order import at, stable_order


@given(
    st.integers(0, 300),
    st.lists(
        st.tuples(st.integers(-(2**40), 2**40), st.integers(1, 2**45)), min_size=1, max_size=3
    ),
    st.integers(0, 2**32 - 1),
)
def test_equals_lexsort(n: int, ranges: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = [rng.integers(low, low + min(span, 1 + seed % 7 * span), n) for low, span in ranges]
    assert np.array_equal(stable_order(*keys), np.lexsort(keys[::-1]))


def test_equal_rows_keep_their_order() -> None:
    key = np.array([3, 1, 3, 1, 3], dtype=np.int32)
    assert stable_order(key, np.zeros(5, dtype=np.int64)).tolist() == [1, 3, 0, 2, 4]


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int64])
def test_rows_are_taken_across_slices(kind: type) -> None:
    rng = np.random.default_rng(0)
    values, rows = rng.random(1000), rng.integers(0, 1000, 200_001).astype(kind)
    assert np.array_equal(at(values, rows), values[rows])
    assert len(at(values, rows[:0])) == 0
