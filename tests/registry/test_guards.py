"""Guards of the gate on hand-made evaluations, and the budgets."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from bridgerec.config import Guards, Params
from bridgerec.evaluation.segments import LEAST
from bridgerec.operations.pages import decision_text
from bridgerec.registry.gate import decide
from bridgerec.registry.verdict import Trial, budgets
from helpers import small_params

MODELS = {"use": "bridgerec.models.popularity:Popularity"}
NAMES = ("popularity", "good", "better")


def params(**guards: Any) -> Params:
    models = dict.fromkeys(NAMES, MODELS)
    changes = {"candidates": list(NAMES), "models": models, "targets": ["left"]}
    changes["split"] = {"protocols": ["temporal"]}
    return Params.model_validate(small_params(**changes, gate={"guards": guards}))


def cell(value: float, spread: float = 0.0) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread}


def world() -> tuple[dict[str, Any], pl.DataFrame]:
    """`better` is best on average, but loses on tail items; both beat popularity."""
    tails = {"popularity": 0.1, "good": 0.09, "better": 0.02}
    means = {"popularity": 0.1, "good": 0.2, "better": 0.3}
    shown = {"popularity": 0.05, "good": 0.5, "better": 0.2}
    people = {"all": 300, "warm": 300, "tail_items": 200, "cold_start": 100}
    metrics = {
        "validation": {
            "temporal": {
                name: {
                    "left": {
                        "all": {"ndcg@10": cell(means[name]), "coverage@10": cell(shown[name])},
                        "warm": {"ndcg@10": cell(means[name])},
                        "tail_items": {"ndcg@10": cell(tails[name], 0.01)},
                        "cold_start": {"ndcg@10": cell(0.5 * (name == "popularity"))},
                    }
                }
                for name in NAMES
            }
        },
        "info": {"people": {"validation": {"temporal": {"left": people}}}},
    }
    noise = np.random.default_rng(0).normal(0, 0.01, 300)
    frames = [
        pl.DataFrame(
            {
                "split": ["temporal"] * 300,
                "part": ["validation"] * 300,
                "target": ["left"] * 300,
                "candidate": [name] * 300,
                "user": np.arange(300),
                "ndcg@10": means[name] + noise * (name != "popularity"),
            }
        )
        for name in NAMES
    ]
    return metrics, pl.concat(frames)


def test_who_loses_a_segment_is_passed_over_and_the_next_one_wins() -> None:
    found = decide(*world(), params())
    assert found.winner == "good"
    assert "better passed over: ndcg@10 0.0200 (at most 0.0300)" in found.reasons[0]
    assert "temporal/left/tail_items is below the guard's 0.0500" in found.reasons[0]
    assert found.candidates["warm"]["better"]["guards"]
    assert decide(*world(), params(segments={})).winner == "better"


def test_people_who_take_another_route_do_not_count() -> None:
    """All lose on cold-start people here, who are answered by another candidate."""
    assert decide(*world(), params(segments={"cold_start": 1.0})).winner == "better"


def test_an_interval_that_reaches_the_guard_passes() -> None:
    metrics, people = world()
    tail = metrics["validation"]["temporal"]["better"]["left"]["tail_items"]
    tail["ndcg@10"] = cell(0.02, 0.04)
    assert decide(metrics, people, params()).winner == "better"


@pytest.mark.parametrize(("people", "winner"), [(LEAST, "good"), (LEAST - 1, "better")])
def test_a_handful_of_people_cannot_decide(people: int, winner: str) -> None:
    metrics, rows = world()
    metrics["info"]["people"]["validation"]["temporal"]["left"]["tail_items"] = people
    found = decide(metrics, rows, params())
    assert found.winner == winner
    words = "0.0200 on temporal/left/tail_items (guard: nothing is asked of 19 people)"
    assert any(words in line for line in found.reasons) == (winner == "better")
    assert ("| nothing is asked of 19 people |" in decision_text(found.model_dump())) == (
        winner == "better"
    )


def test_where_the_baseline_finds_nothing_nothing_is_asked() -> None:
    """The best on average wins there, too, though another one finds something; and it is said."""
    metrics, people = world()
    for name, value in (("popularity", 0.0), ("good", 0.09), ("better", 0.0)):
        found = metrics["validation"]["temporal"][name]["left"]
        found["tail_items"]["ndcg@10"] = cell(value, value / 2)
    decision = decide(metrics, people, params())
    assert decision.winner == "better"
    told = "(guard: nothing is asked, as popularity finds nothing)"
    assert any(told in line and "better" in line for line in decision.reasons)


def test_coverage() -> None:
    found = decide(*world(), params(segments={}, coverage=0.4))
    assert found.winner == "good"
    assert "coverage@10 0.2000" in found.reasons[0]
    assert decide(*world(), params(segments={}, coverage=0.9)).winner is None


@pytest.mark.parametrize("damage", ["missing", "nan", "no segment"])
def test_a_number_that_a_guard_needs_refuses_when_it_is_not_there(damage: str) -> None:
    metrics, people = world()
    own = metrics["validation"]["temporal"]["good"]["left"]
    if damage == "no segment":
        del own["tail_items"]
    else:
        own["tail_items"] = {} if damage == "missing" else {"ndcg@10": cell(math.nan)}
    found = decide(metrics, people, params())
    assert (found.winner, found.released) == (None, False)
    assert any("good on temporal/left/tail_items" in r for r in found.reasons)


@pytest.mark.parametrize("damage", ["nan", "other people"])
def test_values_per_person_that_cannot_be_paired_refuse(damage: str) -> None:
    metrics, people = world()
    first = (pl.col("candidate") == "good") & (pl.col("user") == 0)
    if damage == "nan":
        value = pl.when(first).then(math.nan).otherwise(pl.col("ndcg@10"))
        people = people.with_columns(value.alias("ndcg@10"))
    else:
        people = people.filter(~first)
    found = decide(metrics, people, params())
    assert found.winner is None
    assert any("good" in r and r.startswith("refused") for r in found.reasons)


def test_a_segment_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValidationError, match="there is no tails"):
        params(segments={"tails": 0.5})
    shares = params(segments={"script_*": 0.5, "language_fr": 0.8}).gate.guards
    assert [shares.share(f"language_{one}") for one in ("en", "fr")] == [0.5, 0.8]
    shares = params(segments={"script_*": 0.5, "language_*": 0.6}).gate.guards
    assert [shares.share(name) for name in ("language_en", "script_latin", "all")] == [
        *(0.6, 0.5),
        None,
    ]
    assert params(segments={"language_*": 0.6}).gate.guards.share("script_latin") is None
    assert params(segments={"from_right": 0.5}).gate.guards.segments == {"from_right": 0.5}


@pytest.mark.parametrize(
    ("p95", "allowed", "fits"), [(9.0, 10.0, True), (11.0, 10.0, False), (math.nan, 10.0, False)]
)
def test_budgets(p95: float, allowed: float, fits: bool) -> None:
    trial = Trial(
        release="r", requests=1, p50_milliseconds=1, p95_milliseconds=p95, bento_megabytes=5
    )
    guards = Guards(max_p95_milliseconds=allowed, max_bento_megabytes=5)
    lines = budgets(trial, guards)
    assert [line.startswith("refused") for line in lines] == [False, not fits]
    assert budgets(trial, Guards()) == []
    assert budgets(None, guards)[0].startswith("refused")
