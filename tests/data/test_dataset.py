"""Ragged histories behave like the lists they stand for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bridgerec.data.dataset import Histories

rows = st.lists(st.lists(st.integers(0, 20), max_size=6), min_size=1, max_size=6)


def as_lists(histories: Histories) -> list[list[int]]:
    pairs = zip(histories.indptr[:-1], histories.indptr[1:], strict=True)
    return [histories.items[a:b].tolist() for a, b in pairs]


@given(rows)
def test_round_trip(lists: list[list[int]]) -> None:
    assert as_lists(Histories.of(lists)) == lists


@given(rows, st.data())
def test_take_and_slice(lists: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=5))
    taken = Histories.of(lists).take(np.array(chosen, dtype=np.int64))
    assert as_lists(taken) == [lists[i] for i in chosen]
    start = data.draw(st.integers(0, len(lists)))
    stop = data.draw(st.integers(start, len(lists) + 2))
    assert as_lists(Histories.of(lists).batch(start, stop)) == lists[start:stop]


@given(rows, st.integers(0, 4))
def test_last_and_age(lists: list[list[int]], length: int) -> None:
    histories = Histories.of(lists)
    assert as_lists(histories.last(length)) == [r[max(len(r) - length, 0) :] for r in lists]
    assert histories.age.tolist() == [a for r in lists for a in range(len(r) - 1, -1, -1)]


@given(rows)
def test_within_and_outside_partition(lists: list[list[int]]) -> None:
    histories, block = Histories.of(lists), slice(5, 12)
    assert as_lists(histories.within(block)) == [[i for i in r if 5 <= i < 12] for r in lists]
    assert as_lists(histories.outside(block)) == [[i for i in r if not 5 <= i < 12] for r in lists]
