"""From the service's two logs to rates per segment and to what a shadow would have earned."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridgerec.monitoring.feedback import Rate
from bridgerec.monitoring.feedback_log import impressions_and_clicks, read_feedback
from bridgerec.monitoring.quality import Quality, judge_quality, shadow_items
from bridgerec.monitoring.traffic import read_traffic

ITEMS = 8
INDEX = {("shop", f"i{n}"): n for n in range(ITEMS)}
RATES = np.linspace(0.05, 0.6, ITEMS)


def write(folder: Path, requests: int = 1500, chance: bool = True, shown: bool = True) -> None:
    """One slot; the service draws its item with known probabilities, the shadow always shows i7."""
    rng = np.random.default_rng(0)
    asked, reactions = [], []
    for n in range(requests):
        p = np.full(ITEMS, 1 / ITEMS)
        item = int(rng.choice(ITEMS, p=p)) if chance else n % ITEMS
        line: dict[str, Any] = {
            "time": 1000.0 + n, "request_id": f"r{n}", "release": "main", "target": "shop", "k": 1,
            "route": "warm" if n % 3 else "cold_start", "history": [["shop", f"h{n}"]],
            "items": [f"i{item}"], "ranks": [1], "scores": [1.0],
        }  # fmt: skip
        asked.append({**line, "propensities": [p[item]]} if chance else line)
        asked.append({**line, "request_id": f"s{n}", "release": "next", "items": ["i7"],
                      "shadow": True})  # fmt: skip
        seen = {"time": 1000.5 + n, "request_id": f"r{n}", "domain": "shop", "item_id": f"i{item}"}
        if shown and n % 10:  # a tenth never reached a screen
            reactions.append({**seen, "kind": "shown", "position": 1, "timestamp": None})
        if n % 10 and rng.random() < RATES[item]:
            reactions.append({**seen, "kind": "clicked", "timestamp": 1010 + n})
    folder.mkdir(exist_ok=True)
    for name, lines in (("requests", asked), ("feedback", reactions)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.1.jsonl").write_text(text)


def judge(folder: Path) -> Quality:
    traffic, feedback = read_traffic(folder), read_feedback(folder)
    shown, clicks, names = impressions_and_clicks(traffic, feedback, INDEX)
    other = shadow_items(traffic, shown, names, INDEX)
    return judge_quality(shown, clicks, 1, traffic.requests[-1]["time"] + 7200, other)


def test_a_shadow_release_is_judged_by_the_clicks_of_the_main_one(tmp_path: Path) -> None:
    write(tmp_path)
    found = judge(tmp_path)
    kinds = [(s.kind, s.name) for s in found.segments]
    assert kinds == [("all", "all"), ("route", "cold_start"), ("route", "warm"),
                     ("domain", "shop")]  # fmt: skip
    rate = found.segments[0].rate
    assert rate.impressions == 1350  # what was on a screen
    assert rate.low < RATES.mean() < rate.high
    shadow = found.shadow["next"]
    assert shadow.warnings == ()
    assert shadow.doubly_robust is not None
    assert shadow.doubly_robust.low < RATES[7] < shadow.doubly_robust.high
    assert shadow.effective == pytest.approx(1350 / 8, rel=0.2)
    assert "doubly robust" in found.words


def test_clicks_are_told_by_language(tmp_path: Path) -> None:
    write(tmp_path)
    traffic, feedback = read_traffic(tmp_path), read_feedback(tmp_path)
    shown, clicks, _ = impressions_and_clicks(traffic, feedback, INDEX)
    later = traffic.requests[-1]["time"] + 7200

    def told(language: np.ndarray) -> dict[str, Rate]:
        found = judge_quality(shown, clicks, 1, later, language=language[shown.item])
        return {s.name: s.rate for s in found.segments if s.kind == "language"}

    language = np.array(["language_en"] * 4 + ["language_zh"] * 3 + [""])
    found = told(language)
    assert set(found) == {"language_en", "language_zh"}
    for name, rate in found.items():
        mine = language[shown.item] == name
        assert rate.impressions == mine.sum()
        clicked = [line["item_id"] for line in feedback.lines if line["kind"] == "clicked"]
        own = sum(language[INDEX["shop", item]] == name for item in clicked)
        assert rate.value == pytest.approx(own / mine.sum())
        assert rate.low < rate.value < rate.high
    assert told(np.array(["language_en"] * 8)) == {}


def test_without_chance_the_shadow_is_not_to_be_believed(tmp_path: Path) -> None:
    write(tmp_path, chance=False)
    found = judge(tmp_path)
    assert found.shadow["next"].doubly_robust is None
    assert "without chance" in found.words


def test_clients_that_report_clicks_alone_count_every_answer(tmp_path: Path) -> None:
    write(tmp_path, shown=False)
    found = judge(tmp_path)
    assert found.segments[0].rate.impressions == 1500
    assert found.segments[0].rate.value < RATES.mean()


def test_impressions_wait_for_their_clicks_and_bad_lines_are_counted(tmp_path: Path) -> None:
    write(tmp_path, requests=100)
    with (tmp_path / "feedback.1.jsonl").open("a") as file:
        file.write('nonsense\n{"time": 1}\n')
        line = {"time": 1, "request_id": "r1", "kind": "shown", "domain": "shop", "item_id": "i1"}
        file.write(json.dumps({**line, "position": "top"}) + "\n")
    traffic, feedback = read_traffic(tmp_path), read_feedback(tmp_path)
    assert feedback.broken == 3
    assert len(traffic) == len(traffic.shadows) == 100
    shown, clicks, _ = impressions_and_clicks(traffic, feedback, INDEX)
    found = judge_quality(shown, clicks, 1, now=1050 + 3600)
    assert found.waiting == (shown.time > 1050).sum() > 0
    assert found.segments == ()
    assert "not judged" in found.words


def test_no_feedback_is_none(tmp_path: Path) -> None:
    assert read_feedback(tmp_path).lines == []
