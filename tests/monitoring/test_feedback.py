"""Joining clicks that come late, and click rates with intervals."""

import numpy as np
import pytest

from bridgerec.monitoring.feedback import (
    Clicks,
    Impressions,
    click_rate,
    corrected_rate,
    join,
    wilson,
)


def shown(request: list[int], item: list[int], time: list[float]) -> Impressions:
    n = len(request)
    text = np.array(["x"] * n)
    return Impressions(
        np.array(request), np.array(time), np.array(item), np.ones(n, int), np.ones(n), text, text
    )


def test_only_clicks_within_the_window_count_and_only_when_it_is_over() -> None:
    impressions = shown([7, 7, 8, 9], [1, 2, 1, 3], [0, 0, 50, 95])
    clicks = Clicks(
        np.array([7, 7, 7, 8, 8, 5]),
        np.array([1, 1, 2, 1, 2, 1]),
        np.array([5.0, 6.0, 40.0, 45.0, 51.0, 1.0]),
    )
    found = join(impressions, clicks, window=30, now=100)
    assert found.clicked.tolist() == [True, False, False, False]
    assert found.mature.tolist() == [True, True, True, False]
    # 7/2 came late; 7/1 twice; 8/1 before it was shown, 8/2 and 5/1 never shown
    assert (found.late, found.repeated, found.unmatched) == (1, 1, 3)


def test_nothing_to_join() -> None:
    nothing = Clicks(np.empty(0, int), np.empty(0, int), np.empty(0))
    assert not join(shown([1], [1], [0]), nothing, 30, 100).clicked.any()
    one = Clicks(np.array([1]), np.array([1]), np.array([1.0]))
    assert join(shown([], [], []), one, 30, 100).unmatched == 1


def test_wilson_against_scipy() -> None:
    from scipy.stats import binomtest

    for hits, n in ((0, 10), (3, 10), (40, 1000), (10, 10)):
        expected = binomtest(hits, n).proportion_ci(0.9, method="wilson")
        assert wilson(hits / n, n, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_holds_when_clicks_of_a_list_go_together() -> None:
    held = plain = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        mood = rng.beta(0.4, 1.6, 150)  # mean 0.2, very different between requests
        clicked = (rng.random((150, 10)) < mood[:, None]).ravel()
        found = click_rate(clicked, np.repeat(np.arange(150), 10))
        held += found.low <= 0.2 <= found.high
        low, high = wilson(found.value, found.impressions, 0.95)
        plain += low <= 0.2 <= high
    assert held / 300 > 0.91  # 3.2 standard errors below 0.95
    assert plain / 300 < 0.85  # what ignoring it would promise


def test_no_clicks_at_all_still_has_an_upper_end() -> None:
    found = click_rate(np.zeros(100, bool), np.arange(100) // 10)
    assert found.value == found.low == 0
    assert found.effective == pytest.approx(10)
    assert 0.2 < found.high < 0.35
    with pytest.raises(ValueError, match="at least one"):
        click_rate(np.empty(0, bool), np.empty(0, int))


def world(seed: int, requests: int = 1500) -> tuple[np.ndarray, ...]:
    """Popular items tend to be on top; positions are looked at 100, 60, 40 and 25 % of the time."""
    rng = np.random.default_rng(seed)
    appeal = np.linspace(0.5, 0.05, 12)
    item = np.argsort(-(np.log(appeal) + rng.gumbel(size=(requests, 12))), axis=1)[:, :4].ravel()
    position = np.tile([1, 2, 3, 4], requests)
    look = np.array([1, 0.6, 0.4, 0.25])[position - 1]
    clicked = rng.random(len(item)) < look * appeal[item]
    return item, position, clicked, np.repeat(np.arange(requests), 4), appeal[item]


def test_position_bias_is_taken_out() -> None:
    held, examination, values, naive = 0, [], [], []
    for seed in range(40):
        item, position, clicked, request, appeal = world(seed)
        found = corrected_rate(item, position, clicked, request, resamples=100, seed=seed)
        assert found is not None
        look = np.array([1, 0.6, 0.4, 0.25])[position - 1]
        truth = float((look * appeal).sum() / look.sum())
        held += found.low <= truth <= found.high
        examination.append(found.examination)
        values.append(found.value - truth)
        naive.append(clicked.mean() - truth)
    assert np.mean(examination, axis=0) == pytest.approx([1, 0.6, 0.4, 0.25], abs=0.02)
    assert abs(np.mean(values)) < 0.01 < 0.1 < abs(np.mean(naive))
    assert held >= 33  # of 40; below has probability 0.3 % at 95 %


def test_positions_that_nothing_links_are_left_out() -> None:
    item = np.array([0, 1, 1, 0, 2, 2] * 30)
    position = np.array([1, 2, 1, 2, 3, 3] * 30)
    clicked = np.array([1, 0, 1, 1, 1, 1] * 30, dtype=bool)
    found = corrected_rate(item, position, clicked, np.arange(180) // 6)
    assert found is not None
    assert found.examination[2] is None
    assert found.examination[0] == 1
    fixed = corrected_rate(
        np.array([0, 1] * 9), np.array([1, 2] * 9), np.ones(18, bool), np.arange(18)
    )
    assert fixed is not None
    assert fixed.examination == (1.0, None)
    assert corrected_rate(item, position, np.zeros(180, bool), np.arange(180)) is None
