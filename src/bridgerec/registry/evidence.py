"""What a release carries of the evaluation that chose it: test results with intervals."""

from typing import Any

from bridgerec.config import Workspace
from bridgerec.runtime import read_json

METRICS = ("ndcg@10", "recall@10", "hr@10", "coverage@10")
DIGITS = 5


def evidence(workspace: Workspace) -> dict[str, Any]:
    """The parts of `metrics.json` and `comparisons.json` that people look at.

    `test` is split -> target -> candidate -> segment -> metric -> {value, low, high};
    `comparisons` are those of released candidates with all others, in NDCG@10; `released` tells
    who answers on which route, `people` counts the cases of each segment.
    """
    folder = workspace.reports / "evaluation"
    metrics = read_json(folder / "metrics.json")
    rows = read_json(folder / "comparisons.json")
    released = read_json(workspace.champion / "champion.json")["routes"]
    info = metrics["info"]
    return {
        "baseline": workspace.params.gate.baseline,
        "comparisons": comparisons(rows, set(released.values())),
        "confidence": info["confidence"],
        "people": info["people"]["test"],
        "released": released,
        "seeds": info["seeds"],
        "splits": info["splits"],
        "test": by_target(metrics["test"]),
    }


def by_target(test: dict[str, Any]) -> dict[str, Any]:
    """Split -> candidate -> target as split -> target -> candidate, with the main metrics only."""
    found: dict[str, Any] = {}
    for split, candidates in test.items():
        targets: dict[str, Any] = {}
        for candidate, own in candidates.items():
            for target, segments in own.items():
                targets.setdefault(target, {})[candidate] = {
                    segment: {m: _rounded(values[m]) for m in METRICS if m in values}
                    for segment, values in segments.items()
                }
        found[split] = targets
    return found


def comparisons(rows: list[dict[str, Any]], released: set[str]) -> list[dict[str, Any]]:
    """Each released candidate minus each other one."""
    kept = ("split", "target", "candidate", "against", "p_holm")
    return [
        {
            **{name: row[name] for name in kept},
            **_rounded({name: row[name] for name in ("mean", "low", "high")}),
        }
        for row in rows
        if row["candidate"] in released
    ]


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, DIGITS) if isinstance(v, float) else v for k, v in values.items()}
