"""Drift of answers: silent on a steady log of returning people, each kind of change is found."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bridgerec.monitoring.answers import Answers, popularity_percentiles, read_answers
from bridgerec.monitoring.checks import decide, distributions, means, shares
from bridgerec.monitoring.predictions import PredictionDrift, prediction_drift
from bridgerec.monitoring.traffic import Traffic

ITEMS = 200
INDEX = {("shop", f"i{n}"): n for n in range(ITEMS)}
PERCENTILE = popularity_percentiles(np.arange(ITEMS)[::-1])
Change = Callable[[dict[str, Any]], None]


def log(seed: int, change: Change = lambda _: None, people: int = 150) -> Answers:
    """Every person asks 1 to 8 times in a window, with a growing history and a taste of their own;
    `change` alters the lines of the second window."""
    rng = np.random.default_rng(seed)
    requests = []
    for person in range(people):
        taste, level = rng.integers(ITEMS - 40), rng.normal()
        present = rng.random(2) < 0.75
        history = [["shop", f"i{x}"] for x in rng.choice(ITEMS, 2, replace=False)]
        for window in np.flatnonzero(present):
            for time in np.sort(rng.uniform(0, 1e5, rng.integers(1, 9))):
                items = taste + rng.choice(40, 10, replace=False)
                line = {
                    "time": float(window * 1e5 + time),
                    "route": "warm" if person % 3 else "cold_start",
                    "target": "shop",
                    "release": "r1",
                    "k": 10,
                    "history": list(history),
                    "items": [f"i{x}" for x in items],
                    "scores": [level + 0.1 * float(rng.normal()) - 0.01 * j for j in range(10)],
                }
                if window:
                    change(line)
                requests.append(line)
                if rng.random() < 0.5:
                    history.append(["shop", f"i{rng.integers(ITEMS)}"])
    requests.sort(key=lambda r: r["time"])
    return read_answers(Traffic(requests, 1, 0, 0), INDEX)


def judge(answers: Answers) -> PredictionDrift:
    now = answers.time > 1e5
    return prediction_drift(answers, ~now, now, PERCENTILE)


def test_a_steady_log_raises_few_alarms() -> None:
    alarms = sum(judge(log(seed, people=80)).drift for seed in range(40))
    assert alarms <= 6  # above 6 has probability 0.3 % at a rate of 5 %


def test_people_are_counted_once() -> None:
    answers = log(0)
    found = judge(answers)
    assert found.people == len(np.unique(answers.person))
    assert 130 <= found.people <= 150
    assert found.reference_answers + found.current_answers == len(answers) > 500


def scores(line: dict[str, Any]) -> None:
    line["scores"] = [x + 1.5 for x in line["scores"]]


def routes(line: dict[str, Any]) -> None:
    line["route"] = "warm"


def popular(line: dict[str, Any]) -> None:
    line["items"] = [f"i{int(x[1:]) // 3}" for x in line["items"]]


def fewer(line: dict[str, Any]) -> None:
    line["items"] = [f"i{int(x[1:]) // 60 * 60 + j}" for j, x in enumerate(line["items"])]


def short(line: dict[str, Any]) -> None:
    line["items"], line["scores"] = line["items"][:6], line["scores"][:6]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (scores, "top score"),
        (routes, "route shares"),
        (popular, "popularity percentile"),
        (fewer, "distinct items"),
        (short, "list filled"),
    ],
)
def test_each_change_is_found_and_named(change: Change, name: str) -> None:
    found = judge(log(3, change))
    assert any(c.drift and c.name.startswith(name) for c in found.checks), found.checks
    assert name in found.words


def test_lists_that_stop_changing_are_repeats() -> None:
    def stuck(line: dict[str, Any]) -> None:
        line["items"] = [f"i{j}" for j in range(10)]

    found = judge(log(5, stuck, people=400))
    repeats = next(c for c in found.checks if c.name == "items shown again")
    assert repeats.drift
    assert repeats.current == 1
    assert repeats.reference < 0.7


def test_scores_of_another_release_are_not_compared() -> None:
    def swapped(line: dict[str, Any]) -> None:
        scores(line)
        line["release"] = "r2"

    found = judge(log(3, swapped))
    assert found.new_releases == ("r2",)
    assert not [c for c in found.checks if c.name == "top score"]
    assert "release changed" in found.words


def test_windows_of_a_short_log_are_halves() -> None:
    answers = log(0)
    before, now = answers.windows(days=365)
    assert abs(int(before.sum()) - int(now.sum())) <= 1
    before, now = answers.windows(days=0.5)
    assert answers.time[now].min() > answers.time[-1] - 43_200 >= answers.time[before].max()
    assert answers.time[before].min() > answers.time[-1] - 86_400


def test_empty_lists_and_unknown_items_are_survived() -> None:
    def empty(line: dict[str, Any]) -> None:
        line["items"], line["scores"] = (
            (["nowhere"], [1.0]) if len(line["history"]) % 2 else ([], [])
        )

    found = judge(log(1, empty))
    assert any(c.drift and c.name == "list filled" for c in found.checks)
    nobody = read_answers(Traffic([], 1, 0, 0), INDEX)
    assert "not judged" in prediction_drift(nobody, *nobody.windows(7), PERCENTILE).words


def test_percentiles_by_hand() -> None:
    assert popularity_percentiles(np.array([0, 5, 5, 9])).tolist() == [0.125, 0.5, 0.5, 0.875]


def test_checks_against_scipy_and_their_floors() -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=5000), rng.normal(0.07, 1, 5000)
    found = distributions("x", "all", a, b)
    assert found is not None
    assert found.p_value == stats.ks_2samp(a, b).pvalue < 0.01
    assert not decide([found], 0.05)[0].drift  # sure, but too small
    assert means("x", "all", a[:19], b, 0) is None
    words = np.array(["a"] * 50 + ["b"] * 50)
    moved = shares("kinds", "all", words, np.array(["a"] * 90 + ["b"] * 10))
    assert moved is not None
    assert moved.effect == pytest.approx(0.4)
    assert moved.p_value == pytest.approx(stats.chi2_contingency([[50, 50], [90, 10]])[1])
    assert decide([moved] * 3, 0.05)[0].adjusted == pytest.approx(3 * moved.p_value)
