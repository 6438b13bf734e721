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


def params() -> Params:
    models = dict.fromkeys(NAMES, MODELS)
    changes = small_params(candidates=list(NAMES), models=models, targets=["left"])
    return Params.model_validate(changes)


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
        "info": {"people": {"validation": {s: {"left": {}} for s in ("temporal", COLD)}}},
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


def test_the_winner_answers_cold_start_people_when_that_was_not_evaluated() -> None:
    values = {"popularity": 0.1, "good": 0.2, "better": 0.3}
    metrics, people = world(values, values)
    del metrics["validation"]["cold_start-left-50"]
    found = decide(metrics, people.filter(pl.col("split") == "temporal"), params())
    assert found.routes["cold_start"] == "better"
    assert "not evaluated" in found.reasons[-1]


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
