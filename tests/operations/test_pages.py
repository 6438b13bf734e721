"""The reports of a run as tables, words and addresses."""

import os
from pathlib import Path

import psutil

from bridgerec.config import Workspace
from bridgerec.operations.pages import decision_text, leaderboard, links
from bridgerec.operations.state import Running, State, write_state


def test_the_leaderboard_has_the_best_first_with_its_interval() -> None:
    def found(value: float) -> dict[str, dict[str, dict[str, float]]]:
        numbers = {"value": value, "low": value - 0.01, "high": value + 0.01}
        return {"all": {"mrr@5": numbers, "coverage@10": numbers}, "warm": {"mrr@5": numbers}}

    metrics = {
        "test": {
            "temporal": {
                "one": {"films": found(0.1), "books": found(0.3)},
                "two": {"films": found(0.2), "books": {}},
            }
        }
    }
    rows = leaderboard(metrics, "mrr@5")
    assert [(r["target"], r["candidate"]) for r in rows] == [
        ("books", "one"),
        ("films", "two"),
        ("films", "one"),
    ]
    assert rows[1]["interval"] == "0.1900 to 0.2100"
    assert rows[1]["coverage@10"] == 0.2
    assert leaderboard({}, "mrr@5") == []


def test_the_decision_says_who_why_and_by_how_much() -> None:
    gap = {"mean": 0.02, "low": 0.01, "high": 0.03}
    decision = {
        "released": True, "winner": "two", "routes": {"warm": "two"}, "metric": "mrr@5",
        "baseline": "one", "reasons": ["it is best"],
        "candidates": {"warm": {"one": {"value": 0.1}, "two": {"value": 0.12,
                                                              "against_baseline": gap,
                                                              "against": {"one": gap}}}},
    }  # fmt: skip
    lines = decision_text(decision).splitlines()
    assert lines[0] == "# two may be released"
    assert "- it is best" in lines
    assert lines[-2:] == [
        "| warm | two ✓ | 0.1200 | +0.0200 (+0.0100 to +0.0300) | – |",
        "| warm | one | 0.1000 | – | +0.0200 (+0.0100 to +0.0300) |",
    ]
    assert decision_text({"released": False}).startswith("# Nothing may be released")


def test_links_lead_to_the_server_of_the_reports_where_it_runs(tmp_path: Path) -> None:
    page = tmp_path / "reports" / "experiments" / "x" / "evaluation" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<h1>the evaluation</h1>")
    reports = tmp_path / "reports" / "experiments" / "x"
    assert links(tmp_path, reports) == f"- [the evaluation]({page.as_uri()})"
    born = psutil.Process().create_time()
    me = Running(pid=os.getpid(), born=born, port=1, url="http://here:1", log="", started="")
    write_state(Workspace.open(tmp_path), State(parts={"reports": me}))
    assert "(http://here:1/experiments/x/evaluation/index.html)" in links(tmp_path, reports)
    assert links(tmp_path, tmp_path) == ""
