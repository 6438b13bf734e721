"""The gate on hand-made evaluations."""

import numpy as np
import polars as pl
import pytest

from bridgerec.config import Params
from bridgerec.registry.gate import decide
from helpers import small_params

MODELS = {"use": "bridgerec.models.popularity:Popularity"}
NAMES = ("popularity", "good", "better")
COLD = "cold_start-left-50"


def params(**changes: object) -> Params:
    models = dict.fromkeys(NAMES, MODELS)
    usual = {"candidates": list(NAMES), "models": models, "targets": ["left"]}
    return Params.model_validate(small_params(**usual | changes))


def world(values: dict[str, float], cold: dict[str, float]) -> tuple[dict, pl.DataFrame]:
    """Metrics and per-person values that agree with them."""

    def cell(value: float) -> dict:
        return {"left": {s: {"ndcg@10": {"value": value}} for s in ("all", "warm")}}

    metrics = {
        "validation": {
            "temporal": {c: cell(v) for c, v in values.items()},
            COLD: {c: cell(v) for c, v in cold.items()},
        },
        "test": {},
        "info": {
            "splits": {"temporal": {}, COLD: {"hidden_people": 600}},
            "people": {"validation": {s: {"left": {}} for s in ("temporal", COLD)}},
        },
    }
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 300)
    noise -= noise.mean()
    frames = [
        pl.DataFrame(
            {
                "split": [split] * 300,
                "part": ["validation"] * 300,
                "target": ["left"] * 300,
                "candidate": [c] * 300,
                "user": np.arange(300),
                "known": [0 if split.startswith("cold") else 5] * 300,
                "ndcg@10": value + noise * (c != "popularity"),
            }
        )
        for split, part in (("temporal", values), (COLD, cold))
        for c, value in part.items()
    ]
    return metrics, pl.concat(frames)


def test_each_route_gets_the_best_that_beats_the_baseline() -> None:
    cold = {"popularity": 0.1, "good": 0.2, "better": 0.01}
    found = decide(*world({"popularity": 0.1, "good": 0.2, "better": 0.3}, cold), params())
    assert (found.winner, found.released) == ("better", True)
    assert found.routes == {"warm": "better", "cold_start": "good", "unknown": "popularity"}
    assert found.reasons[0].startswith("warm: better has the best validation ndcg@10")
    assert found.reasons[2].startswith("cold_start: good has the best")
    assert found.candidates["cold_start"]["good"]["against_baseline"]["low"] > 0


def test_the_decision_tells_how_sure_the_lead_over_each_other_candidate_is() -> None:
    values = {"popularity": 0.1, "good": 0.2, "better": 0.3}
    found = decide(*world(values, values), params())
    against = found.candidates["warm"]["better"]["against"]
    assert set(against) == {"popularity", "good"}
    assert against["good"]["low"] == pytest.approx(0.1)  # the same noise
    assert found.reasons[1] == "warm: better is surely better than every other candidate"
    values = {"popularity": 0.1, "good": 0.2, "better": 0.2001}
    wide = pl.when(pl.col("candidate") == "good").then(pl.col("user") % 2 * 0.1 - 0.05).otherwise(0)
    metrics, people = world(values, values)
    people = people.with_columns(pl.col("ndcg@10") + wide)
    assert decide(metrics, people, params()).reasons[1] == "warm: better is level with good"


def test_cold_start_people_get_the_baseline_when_nothing_beats_it() -> None:
    cold = {"popularity": 0.1, "good": 0.05, "better": 0.1001}
    found = decide(*world({"popularity": 0.1, "good": 0.2, "better": 0.3}, cold), params())
    assert found.routes["cold_start"] == "popularity"
    assert "better passed over" in found.reasons[2]


def test_the_winner_answers_cold_start_people_when_that_is_not_asked_for() -> None:
    values = {"popularity": 0.1, "good": 0.2, "better": 0.3}
    metrics, people = without_cold_start(*world(values, values))
    found = decide(metrics, people, params(split={"protocols": ["temporal"]}))
    assert found.routes["cold_start"] == "better"
    assert found.reasons[-1] == "cold_start: not in split.protocols; better answers there too"


def test_the_winner_answers_cold_start_people_when_nobody_overlaps() -> None:
    values = {"popularity": 0.1, "good": 0.2, "better": 0.3}
    metrics, people = without_cold_start(*world(values, values))
    metrics["info"]["splits"][COLD]["hidden_people"] = 1  # who is asked in test
    found = decide(metrics, people, params())
    assert found.routes["cold_start"] == "better"
    assert found.reasons[-1] == "cold_start: nobody could be asked; better answers there too"


@pytest.mark.parametrize("damage", ["metrics", "the split", "a target"])
def test_a_protocol_that_params_ask_for_and_the_evaluation_lacks_refuses(damage: str) -> None:
    values = {"popularity": 0.1, "good": 0.2, "better": 0.3}
    metrics, people = world(values, values)
    asked = params()
    if damage == "a target":
        asked = params(targets=["left", "right"])
        metrics["validation"]["temporal"] = {
            c: {"left": found["left"], "right": found["left"]}
            for c, found in metrics["validation"]["temporal"].items()
        }
        metrics["info"]["people"]["validation"]["temporal"]["right"] = {}
    else:
        metrics, people = without_cold_start(metrics, people)
    if damage == "the split":
        del metrics["info"]["splits"][COLD]
    found = decide(metrics, people, asked)
    assert found.winner is None
    lacking = "cold_start-right-50/right" if damage == "a target" else "cold_start-left-50/left"
    assert f"refused: ndcg@10 of good on {lacking}/all (validation) is missing" in found.reasons


def without_cold_start(metrics: dict, people: pl.DataFrame) -> tuple[dict, pl.DataFrame]:
    del metrics["validation"][COLD]
    return metrics, people.filter(pl.col("split") == "temporal")


def test_nothing_better_than_the_baseline_refuses() -> None:
    values = {"popularity": 0.3, "good": 0.2, "better": 0.1}
    found = decide(*world(values, values), params())
    assert found.winner is None
    assert not found.released
    assert "refused" in found.reasons[-1]


@pytest.mark.parametrize("damage", ["missing", "nan"])
@pytest.mark.parametrize("split", ["temporal", "cold_start-left-50"])
def test_a_missing_or_unusable_metric_refuses(damage: str, split: str) -> None:
    values = {"popularity": 0.1, "good": 0.2, "better": 0.3}
    metrics, people = world(values, values)
    cell = {} if damage == "missing" else {"ndcg@10": {"value": float("nan")}}
    metrics["validation"][split]["good"]["left"] = {"all": cell, "warm": cell}
    found = decide(metrics, people, params())
    assert found.winner is None
    assert any("good" in r and r.startswith("refused") for r in found.reasons)
