"""Segments: whom and what they hold, and the languages of items from the catalogue to the gate."""

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from bridgerec.cli.evaluation import languages_table
from bridgerec.data.dataset import Cases, Catalogue, Histories, Training
from bridgerec.evaluation.report import headline
from bridgerec.evaluation.segments import LEAST, Languages, by_language, segments
from bridgerec.operations.pages import decision_text, leaderboard
from bridgerec.registry.gate import decide
from languages_world import (
    BETTER,
    BLIND,
    CHINESE,
    ENGLISH,
    FRENCH,
    ITEMS,
    LATIN,
    PEOPLE,
    POPULARITY,
    asked,
    judged,
    two_languages,
)


def test_segments_hold_the_people_and_items_that_they_name() -> None:
    items = pl.DataFrame({"domain": ["a"] * 4 + ["b"] * 4, "item_id": list("stuvwxyz")})
    catalogue = Catalogue(items.with_columns(title=pl.lit("a title")))
    cases = Cases(
        "b",
        np.arange(4),
        Histories.of([[4, 5], [0, 4], [1, 2], []]),
        Histories.of([[6], [5, 7], [4], [4]]),
    )
    rows = Histories.of([[4, 4, 4, 4], [5, 5], [6], [0]])
    training = Training(catalogue, np.arange(4), rows, None)
    found = segments(cases, training, catalogue, Languages.of(catalogue))
    yes, no = True, False
    assert {s.name: s.relevant.tolist() for s in found} == {
        "all": [yes] * 5,
        "warm": [yes, yes, yes, no, no],
        "history_1_4": [yes, yes, yes, no, no],
        "cold_start": [no, no, no, yes, no],
        "target_only": [yes, no, no, no, no],
        "unknown": [no, no, no, no, yes],
        "from_a": [no, yes, yes, yes, no],
        "head_items": [no, no, no, yes, yes],  # item 4: four of seven rows
        "mid_items": [no, yes, no, no, no],
        "tail_items": [yes, no, no, no, no],
        "cold_items": [no, no, yes, no, no],
    }


def names(training: Training, cases: Cases) -> set[str]:
    languages = Languages.of(training.catalogue)
    found = segments(cases, training, training.catalogue, languages)
    return {s.name for s in found if s.name.startswith(("script_", "language_"))}


def test_each_script_of_a_target_is_a_segment() -> None:
    training = two_languages()
    cases = asked(training)
    languages = Languages.of(training.catalogue)
    found = {s.name: s for s in segments(cases, training, training.catalogue, languages)}
    half = np.arange(PEOPLE) < PEOPLE // 2
    assert found[LATIN].relevant.tolist() == half.tolist()
    assert found[CHINESE].relevant.tolist() == (~half).tolist()
    member, begins = found[CHINESE].people(cases.relevant)
    assert member.tolist() == (~half).tolist()
    assert begins.tolist() == list(range(PEOPLE // 2 + 1))


@pytest.mark.parametrize("chinese", [0, LEAST - 1])
def test_one_script_or_a_handful_of_items_is_no_segment(chinese: int) -> None:
    training = two_languages(chinese=chinese)
    assert names(training, asked(training)) == set()


def test_a_script_that_hardly_anybody_is_asked_about_is_no_segment() -> None:
    enough, few = two_languages(people=2 * LEAST), two_languages(people=2 * LEAST - 2)
    assert names(enough, asked(enough)) == {LATIN, CHINESE}
    assert names(few, asked(few)) == set()


def test_what_the_catalogue_says_comes_before_the_script() -> None:
    training = two_languages(told=True)
    assert names(training, asked(training)) == {ENGLISH, FRENCH}
    languages = Languages.of(training.catalogue)
    named = [languages.names[number] for number in languages.number]
    assert named == [LATIN] * 10 + [ENGLISH] * ITEMS + [FRENCH] * ITEMS  # `left` tells none


def test_languages_are_read_as_people_write_them() -> None:
    said = ["zh-CN", "zh_cn ", "ZH CN", "", "-", None, "日本語"]
    domains = ["a"] * 7 + ["b"] * 2
    items = pl.DataFrame({"domain": domains, "language": [*said, None, " "], "title": "Один"})
    languages = Languages.of(Catalogue(items))
    assert [languages.names[number] for number in languages.number] == [
        *["language_zh_cn"] * 3,
        *["", "", "", "language_日本語"],
        *["script_cyrillic"] * 2,
    ]
    scripts = Languages.of(Catalogue(items.drop("language")))
    assert scripts.names == ("", "script_cyrillic")


@pytest.mark.parametrize(("told", "lost"), [(False, CHINESE), (True, FRENCH)])
def test_who_got_worse_in_one_language_alone_is_refused(told: bool, lost: str) -> None:
    metrics, people, params = judged(told, popularity=POPULARITY, blind=BLIND)
    found = decide(metrics, people, params)
    gap = found.candidates["warm"]["blind"]["against_baseline"]
    assert gap["low"] > 0  # on average it wins
    assert (found.winner, found.released) == (None, False)
    (line,) = [r for r in found.reasons if "passed over" in r]
    assert f"temporal/right/{lost} is below the guard's" in line
    assert "blind passed over: ndcg@10 0.0000 (at most 0.0000)" in line


def test_who_is_good_in_every_script_wins_and_the_decision_tells_each() -> None:
    metrics, people, params = judged(popularity=POPULARITY, better=BETTER, blind=BLIND)
    found = decide(metrics, people, params)
    assert found.winner == "better"
    (line,) = [r for r in found.reasons if "better passes the guards" in r]
    assert all(f"temporal/right/{name} (guard: " in line for name in (LATIN, CHINESE))
    told = {one["segment"]: one for one in found.candidates["warm"]["better"]["guarded"]}
    assert told[CHINESE]["value"] > told[CHINESE]["least"] > 0
    text = decision_text(found.model_dump())
    assert f"| warm | blind | temporal, right | {CHINESE} | ndcg@10 0.0000 |" in text


@pytest.mark.parametrize(
    ("guards", "winner"),
    [
        ({}, "blind"),
        ({LATIN: 0.5}, "blind"),
        ({CHINESE: 0.5}, "better"),
        ({"script_*": 0.5, CHINESE: 0.0}, "blind"),  # what is named by itself counts
    ],
)
def test_scripts_are_guarded_one_by_one_or_all_at_once(
    guards: dict[str, float], winner: str
) -> None:
    metrics, people, params = judged(popularity=POPULARITY, better=BETTER, blind=BLIND)
    gate = params.gate.model_copy(
        update={"guards": params.gate.guards.model_copy(update={"segments": guards})}
    )
    assert decide(metrics, people, params.model_copy(update={"gate": gate})).winner == winner


def test_a_named_script_that_is_nowhere_refuses() -> None:
    metrics, people, params = judged(popularity=POPULARITY, better=BETTER)
    guards = params.gate.guards.model_copy(update={"segments": {"script_greek": 0.5}})
    gate = params.gate.model_copy(update={"guards": guards})
    found = decide(metrics, people, params.model_copy(update={"gate": gate}))
    assert found.winner is None
    assert "names script_greek, which no case has (" in found.reasons[0]
    assert CHINESE in found.reasons[0]


@pytest.mark.parametrize("who", ["better", "popularity"])
def test_a_script_in_which_somebody_was_not_judged_refuses(who: str) -> None:
    metrics, people, params = judged(popularity=POPULARITY, better=BETTER)
    del metrics["validation"]["temporal"][who]["right"][CHINESE]
    found = decide(metrics, people, params)
    assert found.winner is None
    assert any(f"of {who} on temporal/right/{CHINESE}" in r for r in found.reasons)


def test_tables_and_words_show_each_script() -> None:
    metrics, _, _ = judged(popularity=POPULARITY, better=BETTER)
    cells = metrics["test"]["temporal"]["better"]["right"]
    value = round(cells[CHINESE]["ndcg@10"]["value"], 4)
    assert leaderboard(metrics, "ndcg@10")[0][CHINESE] == value
    assert f"{CHINESE} {value:.4f}" in headline(metrics, [])
    console = Console(width=80)
    with console.capture() as screen:
        console.print(languages_table(metrics, "temporal", "right"))
    assert CHINESE in screen.get()
    assert f"{value:.4f}" in screen.get()
    assert leaderboard(metrics, "mrr@5")[0][CHINESE] == round(cells[CHINESE]["mrr@5"]["value"], 4)
    assert by_language(cells, "ndcg@7") == {}
    del cells[CHINESE], cells[LATIN], metrics["test"]["temporal"]["popularity"]
    assert languages_table(metrics, "temporal", "right") is None
