"""Trends against a direct sum over the rows."""

from dataclasses import replace

import numpy as np
import pytest

from bridgerec.data.dataset import NOW, Histories, Training
from bridgerec.models.trends import DAY, EPSILON, Trends


def direct(training: Training, half_life: float, moment: int) -> np.ndarray:
    rows = training.histories
    assert rows.timestamp is not None
    before = rows.timestamp < moment
    worth = np.exp2(-(moment - rows.timestamp[before]) / (half_life * DAY)) * rows.strength[before]
    return np.log(np.bincount(rows.items[before], worth, len(training.catalogue)) + EPSILON)


@pytest.mark.parametrize("half_life", [3.0, 100.0, np.inf])
def test_tables_are_the_faded_sums(training: Training, half_life: float) -> None:
    trends = Trends.fit(training, (half_life,))
    for row in (0, 1, 400, len(trends.edges) - 1):
        expected = direct(training, half_life, int(trends.edges[row]))
        np.testing.assert_allclose(trends.tables[0][row], expected, atol=1e-4)


def test_three_ways_to_ask_agree(training: Training) -> None:
    trends = Trends.fit(training, (2.0, 50.0))
    rng = np.random.default_rng(0)
    moment = np.append(rng.choice(trends.edges, 40), [0, NOW])
    items = rng.integers(0, 60, len(moment))
    for k in range(2):
        single = trends.of_entries(k, moment, items)
        table = trends.tables[k][trends.at(moment), items]
        np.testing.assert_allclose(single, table, atol=1e-4)
        block = slice(30, 60)
        np.testing.assert_array_equal(
            trends.of_block(k, moment, block), trends.tables[k][trends.at(moment), block]
        )
        fresh = Trends.of(trends.arrays())  # asked about now, it makes no table
        now = fresh.of_block(k, np.full(3, NOW), block)
        np.testing.assert_allclose(now, trends.tables[k][[-1] * 3, block], atol=1e-4)
        some = rng.integers(0, 60, (3, 7))
        found = fresh.of_items(k, np.full(3, NOW), some)
        np.testing.assert_allclose(found, trends.tables[k][-1][some], atol=1e-4)
        assert fresh._tables is None


def test_nothing_is_known_of_what_comes_later(training: Training) -> None:
    rows = training.histories
    assert rows.timestamp is not None
    cut = int(np.quantile(rows.timestamp, 0.5))
    other = rows.items.copy()
    other[rows.timestamp >= cut] = 5
    changed = replace(training, histories=replace(rows, items=other))
    asked, block = np.array([cut]), slice(0, 60)
    before, after = (Trends.fit(t, (9.0,)).of_block(0, asked, block) for t in (training, changed))
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_without_times_there_is_no_trend(training: Training) -> None:
    plain = replace(training, histories=replace(training.histories, timestamp=None))
    trends = Trends.fit(plain, (9.0,))
    found = trends.of_entries(0, np.zeros(60, dtype=np.int64), np.arange(60))
    assert np.ptp(found) == 0


def test_the_moment_of_a_question() -> None:
    known = Histories(
        np.array([0, 2, 2]), np.array([1, 2], "i4"), np.ones(2, "f4"), np.array([10, 20])
    )
    assert known.moment.tolist() == [20, NOW]
    assert replace(known, asked=np.array([50, 60])).moment.tolist() == [50, 60]
    assert known.take(np.array([1, 0])).moment.tolist() == [NOW, 20]
    assert Histories.of([[1]]).moment.tolist() == [NOW]


def test_models_of_the_same_rows_share_their_tables(training: Training) -> None:
    first, other = (Trends.fit(training, (3.0, 15.0)) for _ in range(2))
    assert all(a is b for a, b in zip(first.tables, other.tables, strict=True))
    fewer = replace(training, histories=training.histories.last(3))
    assert Trends.fit(fewer, (3.0,)).tables[0] is not first.tables[0]
    assert Trends.fit(training, (15.0,)).tables[0] is first.tables[1]
