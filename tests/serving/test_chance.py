"""Chance in lists: what is told is what happens."""

from itertools import permutations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import chi2

from bridgerec.config import Exploration
from bridgerec.serving.chance import Chance, drawn_places

ITEMS = np.arange(100, 130)


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 2.5])
def test_probabilities_are_those_of_all_orders(sharpness: float) -> None:
    weight = np.arange(1, 6) ** -sharpness
    expected = np.zeros((5, 5))
    for order in permutations(range(5)):
        probability, left = 1.0, weight.sum()
        for rank in order:
            probability *= weight[rank] / left
            left -= weight[rank]
        expected[order, range(5)] += probability
    np.testing.assert_allclose(drawn_places(5, sharpness), expected, atol=1e-11)


@pytest.mark.parametrize(("n", "sharpness"), [(1, 2.0), (20, 0.5), (50, 2.0), (50, 5.0)])
def test_every_item_has_a_place_and_every_place_an_item(n: int, sharpness: float) -> None:
    found = drawn_places(n, sharpness)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-9)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-9)
    assert found[0, 0] == found.max()


def test_what_is_drawn_happens_as_often_as_is_told() -> None:
    chance, n, draws = Chance(0.6, 12, 1.5), 15, 20_000
    count = np.zeros((n, n))
    told = np.zeros((n, n))
    for number in range(draws):
        order, propensity = chance.draw(f"request-{number}", ITEMS[:n])
        assert sorted(order.tolist()) == list(range(n))
        count[order, np.arange(n)] += 1
        told[order, np.arange(n)] = propensity
    expected = np.eye(n)
    expected[:12, :12] = chance.places(12)
    np.testing.assert_allclose(told[count > 0], expected[count > 0])
    assert (count[12:, 12:] == draws * np.eye(3)).all()  # below the depth nothing moves
    often = expected[:12, :12] * draws
    kept = often >= 20
    statistic = ((count[:12, :12] - often)[kept] ** 2 / often[kept]).sum()
    assert statistic < chi2.isf(1e-4, kept.sum())
    wrong = often * 1.1
    assert ((count[:12, :12] - wrong)[kept] ** 2 / wrong[kept]).sum() > chi2.isf(1e-4, kept.sum())


def test_a_draw_repeats_and_depends_on_request_and_list() -> None:
    chance = Chance(1, 20, 1)
    first, again = chance.draw("a", ITEMS), chance.draw("a", ITEMS)
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != chance.draw("b", ITEMS)[0]).any()
    assert (first[0] != chance.draw("a", ITEMS[::-1])[0]).any()
    assert chance.draw("a", ITEMS[:0])[0].tolist() == []
    assert chance.draw("a", ITEMS[:1])[1].tolist() == pytest.approx([1])


def test_off_unless_asked_for() -> None:
    assert Chance.of(None) is None
    assert Chance.of(Exploration().model_dump()) is None
    assert Chance.of({"share": 0.5, "depth": 5, "sharpness": 1}) is not None
    for wrong in ({"share": 1.5}, {"depth": 1}, {"depth": 51}, {"sharpness": -1}, {"what": 1}):
        with pytest.raises(ValidationError):
            Exploration.model_validate(wrong)
