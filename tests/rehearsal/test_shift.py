"""The world of a rehearsal, before and after its shift, and what people do in it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bridgerec.data.simulate import simulate
from bridgerec.data.simulation import words
from bridgerec.rehearsal.shift import Truth, shift
from bridgerec.rehearsal.visit import Society, met_before


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    simulate(root, seed=3, users=120, items=60)
    return root


@pytest.fixture
def society(world: Path) -> Society:
    truth = Truth.read(world)
    rows = pl.read_ndjson(world / "data" / "films" / "interactions.jsonl")
    return Society(truth, 3, met_before({"films": rows}, truth))


def test_the_shift_moves_what_it_says_and_keeps_the_rest(world: Path) -> None:
    before = Truth.read(world)
    moved = shift(before, new_items=0.25, turn=0.6, seed=3)
    after = moved.truth
    rising = [i for i, theme in enumerate(words.THEMES) if theme.name in moved.themes]
    np.testing.assert_allclose(after.tastes.sum(1), 1)
    elsewhere = np.setdiff1d(np.arange(before.tastes.shape[1]), rising)
    np.testing.assert_allclose(after.tastes[:, elsewhere], 0.4 * before.tastes[:, elsewhere])
    for domain, rows in moved.new.items():
        assert len(rows) == 15
        assert after.ids[domain][:60] == before.ids[domain]
        assert len(set(after.ids[domain])) == 75
        own = after.items[domain]
        assert set(own.themes[60:].argmax(1)) <= set(rising)
        np.testing.assert_array_equal(own.themes[:60], before.items[domain].themes)
        # the same ladder of appeal, and new items higher on it
        ladder = np.round(-0.7 * np.log(np.arange(75) + 10.0), 6)
        np.testing.assert_array_equal(np.sort(own.appeal)[::-1], ladder)
        assert own.appeal[60:].mean() > own.appeal[:60].mean()
        assert all(row["price"] > 0 and row["title"] for row in rows)


def test_no_turn_and_the_same_seed_change_nothing(world: Path) -> None:
    before = Truth.read(world)
    np.testing.assert_array_equal(shift(before, 0.1, 0.0, 3).truth.tastes, before.tastes)
    one, two = (shift(before, 0.1, 0.5, 3) for _ in range(2))
    assert one.new == two.new
    np.testing.assert_array_equal(one.truth.tastes, two.truth.tastes)
    assert shift(before, 0.1, 0.5, 4).new != one.new


def test_people_click_what_they_like_and_look_at_the_top(society: Society) -> None:
    best = np.argsort(-society.liking["films"], axis=1)
    ids = society.truth.ids["films"]
    good = [
        society.clicks(p, d, "films", [ids[i] for i in best[p, :5]])
        for p in range(60)
        for d in range(5)
    ]
    poor = [
        society.clicks(p, d, "films", [ids[i] for i in best[p, -5:]])
        for p in range(60)
        for d in range(5)
    ]
    assert sum(map(len, good)) > 3 * sum(map(len, poor))
    first = society.chances(0, "films", [ids[best[0, 0]]] * 4)
    assert (np.diff(first) < 0).all()


def test_events_are_of_the_day_new_to_the_person_and_repeat(society: Society) -> None:
    rows = society.events(5, 2, "films", [society.truth.ids["films"][7]])
    assert rows[0]["item_id"] == society.truth.ids["films"][7]
    start = 1_704_067_200 + (366 + 2) * 86_400
    assert all(start <= row["timestamp"] < start + 86_400 for row in rows)
    assert len({row["event_id"] for row in rows}) == len(rows)
    wanted = society.open_preference(5, "films")
    assert wanted[7] == 0
    assert wanted.sum() > 0
    again = Society(society.truth, 3, {})
    assert again.visitors(2, 30) == society.visitors(2, 30)
    assert len(again.visitors(2, 30)) == 30
    assert again.visitors(3, 30) != again.visitors(2, 30)
