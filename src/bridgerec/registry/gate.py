"""The gate: which candidate may be released, and why.

Chooses on validation only.  A number that is missing or not finite refuses.
"""

import math
import shutil
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from bridgerec.config import Params, Workspace
from bridgerec.errors import ArtifactError, GateRefused
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.runtime import atomic_folder, file_hash, read_json, write_json


class Decision(BaseModel):
    """The outcome: a winner, or none; the reasons; every candidate's validation value."""

    model_config = ConfigDict(frozen=True)

    winner: str | None
    released: bool
    metric: str
    protocol: str
    baseline: str
    reasons: list[str]
    candidates: dict[str, dict[str, Any]]


def decide(metrics: dict[str, Any], per_user: pl.DataFrame, params: Params) -> Decision:
    """Take the best candidate on validation that passes every guard.

    The value is the mean over targets of `gate.metric` on `gate.protocol`.  Guards: the paired
    interval against the baseline lies above zero, and cold-start people lose nothing (more than
    `gate.max_cold_start_loss`) against it.
    """
    gate, reasons = params.gate, []
    values, missing = _values(metrics, params)
    if missing:
        reasons = [f"refused: {m}" for m in missing]
        return _decision(None, params, reasons, {})
    means = {c: sum(v.values()) / len(v) for c, v in values.items()}
    table: dict[str, dict[str, Any]] = {
        c: {"value": means[c], "targets": values[c]} for c in params.candidates
    }
    winner = None
    for name in sorted(means, key=lambda c: (-means[c], params.candidates.index(c))):
        if name == gate.baseline:
            reasons.append(f"{name} ({means[name]:.4f}) is the baseline, which has to be beaten")
            break
        gap = _gap(per_user, name, params)
        table[name]["against_baseline"] = gap
        text = f"{gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
        if gap["low"] <= 0:
            reasons.append(f"{name} passed over: {text} against {gate.baseline} includes zero")
            continue
        losses = _cold_start_losses(metrics, name, params)
        table[name]["cold_start_losses"] = losses
        if losses:
            reasons.append(f"{name} passed over: cold-start people lose on {', '.join(losses)}")
            continue
        winner = name
        reasons.append(
            f"{name} has the best validation {gate.metric} ({gate.protocol}, mean over targets: "
            f"{means[name]:.4f}) among those that pass; against {gate.baseline} {text}"
        )
        break
    if winner is None:
        reasons.append(f"refused: no candidate beats {gate.baseline} and passes the guards")
    return _decision(winner, params, reasons, table)


def _decision(
    winner: str | None, params: Params, reasons: list[str], table: dict[str, dict[str, Any]]
) -> Decision:
    gate = params.gate
    return Decision(
        winner=winner,
        released=winner is not None,
        metric=gate.metric,
        protocol=gate.protocol,
        baseline=gate.baseline,
        reasons=reasons,
        candidates=table,
    )


def _values(
    metrics: dict[str, Any], params: Params
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Validation values per candidate and target, and what is missing or not finite."""
    gate, missing = params.gate, list[str]()
    values: dict[str, dict[str, float]] = {}
    found = metrics.get("validation", {}).get(gate.protocol, {})
    if gate.protocol == "cold_start":
        splits = {s: v for s, v in metrics["validation"].items() if s.startswith("cold_start-")}
        found = {
            c: {s: t for v in splits.values() for s, t in v[c].items()} for c in params.candidates
        }
    for candidate in params.candidates:
        values[candidate] = {}
        for target in params.target_domains:
            cell = found.get(candidate, {}).get(target, {}).get("all", {}).get(gate.metric, {})
            value = cell.get("value")
            if value is None or not math.isfinite(value):
                missing.append(
                    f"{gate.metric} of {candidate} on {gate.protocol}/{target} (validation) is "
                    f"{'missing' if value is None else value}"
                )
            else:
                values[candidate][target] = value
    return values, missing


def _gap(per_user: pl.DataFrame, name: str, params: Params) -> dict[str, float]:
    gate = params.gate
    rows = per_user.filter(
        pl.col("split").str.starts_with(gate.protocol) & (pl.col("part") == "validation")
    ).sort("split", "target", "user")
    one, other = (rows.filter(pl.col("candidate") == c) for c in (name, gate.baseline))
    # each target weighs the same, however many people it has
    sizes = one.group_by("target").len().rename({"len": "n"})
    scale = one.join(sizes, on="target", maintain_order="left")["n"].to_numpy()
    scale = len(one) / (scale * len(sizes))
    bootstrap = Bootstrap(
        len(one), params.evaluation.bootstrap, params.evaluation.confidence, params.seed
    )
    found = bootstrap.difference(
        one[gate.metric].to_numpy() * scale, other[gate.metric].to_numpy() * scale
    )
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _cold_start_losses(metrics: dict[str, Any], name: str, params: Params) -> list[str]:
    gate, losses = params.gate, []
    for split, candidates in metrics["validation"].items():
        if not split.startswith("cold_start-"):
            continue
        for target, found in candidates[name].items():
            mine = found["all"][gate.metric]["value"]
            theirs = candidates[gate.baseline][target]["all"][gate.metric]["value"]
            if theirs - mine > gate.max_cold_start_loss:
                losses.append(f"{split} ({mine:.4f} against {theirs:.4f})")
    return losses


def select(workspace: Workspace) -> Decision:
    """Decide; write `reports/decision.json` and, when somebody won, `artifacts/champion`.

    Raises:
        ArtifactError: the evaluation is missing.
        GateRefused: nobody may be released.
    """
    params, folder = workspace.params, workspace.reports / "evaluation"
    if not (folder / "metrics.json").is_file():
        raise ArtifactError(f"{folder / 'metrics.json'} does not exist. Run the evaluate stage.")
    metrics = read_json(folder / "metrics.json")
    decision = decide(metrics, pl.read_parquet(folder / "per_user.parquet"), params)
    if decision.winner is not None:
        _write_champion(workspace, params, decision.winner, metrics)
    write_json(workspace.reports / "decision.json", decision.model_dump())
    if decision.winner is None:
        raise GateRefused("the gate refuses a release:\n  " + "\n  ".join(decision.reasons))
    return decision


def _write_champion(
    workspace: Workspace, params: Params, winner: str, metrics: dict[str, Any]
) -> None:
    splits = metrics["info"]["splits"]
    split = next(s for s in splits if s.split("-")[0] == params.gate.protocol)
    with atomic_folder(workspace.champion) as folder:
        for name, candidate in (("model", winner), ("fallback", params.gate.baseline)):
            shutil.copytree(workspace.candidate(candidate) / split / "seed-0", folder / name)
        write_json(
            folder / "champion.json",
            {
                "candidate": winner,
                "baseline": params.gate.baseline,
                "protocol": params.gate.protocol,
                "seed": params.seed,
                "model_sha256": file_hash(folder / "model"),
                "catalogue_sha256": file_hash(workspace.prepared / "items.parquet"),
                "split_hash": splits[split]["hash"],
            },
        )
