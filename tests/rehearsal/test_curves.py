"""Measuring lists by true preferences."""

import numpy as np
import pytest

from bridgerec.rehearsal.quality import Seen, gain, per_day, preference_ndcg


def test_ndcg_of_preferences_by_hand() -> None:
    wanted = np.array([0.5, 0.2, 0.0, 0.3])
    assert preference_ndcg(wanted, [0, 3, 1, 2], k=3) == pytest.approx(1)
    ideal = 0.5 + 0.3 / np.log2(3) + 0.2 / 2
    assert preference_ndcg(wanted, [2, 0], k=3) == pytest.approx(0.5 / np.log2(3) / ideal)
    assert preference_ndcg(wanted, [1, 1, 2, 0], k=3) < 1  # the fourth is not looked at
    assert preference_ndcg(np.zeros(4), [0, 1], k=3) == 0


def seen(day: int, person: int, maintained: float, frozen: float) -> Seen:
    return Seen(day=day, person=person, maintained=maintained, frozen=frozen,
                maintained_clicks=1, frozen_clicks=2, clicks=day)  # fmt: skip


def test_gain_counts_people_not_visits() -> None:
    # one person who came ten times and lost, and nine who won
    visits = [seen(d, 0, 0.1, 0.2) for d in range(10)] + [
        seen(0, p, 0.3, 0.2) for p in range(1, 10)
    ]
    found = gain(visits, "ndcg", 1)
    assert found.people == 10
    assert found.value == pytest.approx(0.08)
    assert found.low < found.value < found.high
    assert gain(visits, "clicks", 1).value == pytest.approx(-1)


def test_days_have_their_own_means() -> None:
    rows = per_day([seen(4, 1, 0.2, 0.1), seen(4, 2, 0.4, 0.1), seen(5, 1, 1, 0)], 1)
    assert [row["day"] for row in rows] == [4, 5]
    assert rows[0]["maintained"]["value"] == pytest.approx(0.3)
    assert rows[0]["visits"] == 2
    assert rows[0]["clicks"] == 8
    assert rows[1]["frozen"] == {"value": 0, "low": 0, "high": 0, "people": 1}
