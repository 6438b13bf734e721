"""The gate: which candidates may be released, each for which people, and why.

Chooses on validation only, one candidate for people with a history in the target (`warm`) and
one for people without (`cold_start`).  A number that is missing or not finite refuses.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bridgerec.config import Params, Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.data.split import cold_start_splits
from bridgerec.data.stored import read_stored
from bridgerec.data.vectors import read_images, read_vectors
from bridgerec.errors import ArtifactError, GateRefused
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.models.base import load
from bridgerec.registry import guards
from bridgerec.registry.store import save_whole
from bridgerec.runtime import (
    atomic_folder,
    file_hash,
    read_json,
    remove_leftovers,
    write_json,
)

PERSON = ("split", "target", "user")
Values = dict[str, dict[str, float]]  # candidate -> "split/target" -> value


class Decision(BaseModel):
    """The outcome: the winner (None: refused), who answers on which route, and why.

    `candidates` holds, per route and candidate, the validation value (mean over `cases`) and,
    for those that were examined, the paired interval against the baseline and every number that a
    guard looked at (`guarded`); who is chosen has the intervals against all others (`against`).
    """

    model_config = ConfigDict(frozen=True)

    winner: str | None
    released: bool
    routes: dict[str, str]
    metric: str
    protocol: str
    baseline: str
    reasons: list[str]
    candidates: dict[str, dict[str, dict[str, Any]]]


def decide(metrics: dict[str, Any], per_user: pl.DataFrame, params: Params) -> Decision:
    """For each route take the best candidate on validation that beats the baseline.

    The warm route is judged on `gate.protocol`, by people with a history in the target, and has
    to find a candidate, or nothing is released.  The cold-start route is judged on the protocol
    of that name and falls back on the baseline; only where `split.protocols` does not name it, or
    nobody could be asked, is it not judged, and the warm route's candidate answers.  The value is
    the mean of `gate.metric` over targets; to beat means that the paired bootstrap interval lies
    above zero.  Who fails a guard (`gate.guards`) is passed over.
    """
    gate = params.gate
    protocols = {"warm": gate.protocol}
    if _cases(metrics, "cold_start", params):
        protocols["cold_start"] = "cold_start"
    values, missing = {}, guards.absent_languages(metrics, params)
    for route, protocol in protocols.items():
        values[route], absent = _values(metrics, protocol, params)
        missing += absent
        missing += guards.missing(metrics, route, protocol, params)
        missing += _unpaired(per_user, protocol, params)
    reasons, table, routes = [], {}, {}
    if missing:
        reasons = [f"refused: {m}" for m in missing]
    else:
        for route, protocol in protocols.items():
            looked_at = {
                name: guards.guarded(metrics, name, route, protocol, params)
                for name in params.competitors
            }
            found, told, table[route] = _best(values[route], per_user, protocol, params, looked_at)
            reasons += [f"{route}: {line}" for line in told]
            routes[route] = found or gate.baseline
        if routes["warm"] == gate.baseline:
            reasons.append(f"refused: no candidate beats {gate.baseline}")
            routes = {}
        elif "cold_start" not in routes:
            routes["cold_start"] = routes["warm"]
            why = "nobody could be asked" if cold_start_splits(params) else "not in split.protocols"
            reasons.append(f"cold_start: {why}; {routes['warm']} answers there too")
    return Decision(
        winner=routes.get("warm"),
        released=bool(routes),
        routes={**routes, "unknown": gate.baseline} if routes else {},
        metric=gate.metric,
        protocol=gate.protocol,
        baseline=gate.baseline,
        reasons=reasons,
        candidates=table,
    )


def _values(metrics: dict[str, Any], protocol: str, params: Params) -> tuple[Values, list[str]]:
    """Validation values per candidate and case, and what is missing or not finite."""
    metric, segment = params.gate.metric, _segment(protocol)
    splits = metrics.get("validation", {})
    values: Values = {candidate: {} for candidate in params.competitors}
    missing = []
    for candidate in params.competitors:
        for split, target in _cases(metrics, protocol, params):
            found = splits.get(split, {}).get(candidate, {}).get(target, {})
            value = found.get(segment, {}).get(metric, {}).get("value")
            if value is None or not math.isfinite(value):
                missing.append(
                    f"{metric} of {candidate} on {split}/{target}/{segment} (validation) is "
                    f"{'missing' if value is None else value}"
                )
            else:
                values[candidate][f"{split}/{target}"] = value
    return values, missing


def _cases(metrics: dict[str, Any], protocol: str, params: Params) -> list[tuple[str, str]]:
    """Split and target of all that params.yaml asks for in a protocol, whether or not `metrics` has
    it; but for cold-start splits of which prepare says that nobody is asked in validation."""
    if protocol != "cold_start":
        return [(protocol, target) for target in params.target_domains]
    described = metrics["info"].get("splits", {})
    return [
        (name, target)
        for name, target, _ in cold_start_splits(params)
        if name not in described or described[name]["hidden_people"] >= 2
    ]


def _segment(protocol: str) -> str:
    """Whom a protocol judges the route by: in cold start nobody has a history in the target."""
    return "all" if protocol == "cold_start" else "warm"


def _best(
    values: Values,
    per_user: pl.DataFrame,
    protocol: str,
    params: Params,
    guarded: dict[str, list[dict[str, Any]]],
) -> tuple[str | None, list[str], dict[str, dict[str, Any]]]:
    """The best candidate that beats the baseline and fails no guard (or None), the reasons, and
    the numbers."""
    gate, reasons = params.gate, []
    means = {c: sum(v.values()) / len(v) for c, v in values.items()}
    table: dict[str, dict[str, Any]] = {
        c: {"value": means[c], "cases": values[c]} for c in params.competitors
    }
    for name in sorted(means, key=lambda c: (-means[c], params.competitors.index(c))):
        if name == gate.baseline:
            reasons.append(f"{name} ({means[name]:.4f}) is the baseline; nothing better is left")
            break
        gap = _gaps(per_user, name, [gate.baseline], protocol, params)[gate.baseline]
        table[name] |= {"against_baseline": gap, "guarded": guarded[name]}
        text = f"{gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
        if lost := guards.failures(guarded[name]):
            reasons += [f"{name} passed over: {line}" for line in lost]
            table[name]["guards"] = lost
        elif gap["low"] > 0:
            reasons.append(
                f"{name} has the best validation {gate.metric} ({protocol}, mean over targets: "
                f"{means[name]:.4f}); against {gate.baseline} {text}"
            )
            if guarded[name]:
                reasons.append(f"{name} passes the guards: {guards.held(guarded[name])}")
            others = [c for c in params.competitors if c not in (name, gate.baseline)]
            gaps = _gaps(per_user, name, others, protocol, params)
            table[name]["against"] = {gate.baseline: gap, **gaps}
            if gaps:
                reasons.append(f"{name} is {_standing(gaps)}")
            return name, reasons, table
        else:
            reasons.append(f"{name} passed over: {text} against {gate.baseline} includes zero")
    return None, reasons, table


def _gaps(
    per_user: pl.DataFrame, name: str, others: list[str], protocol: str, params: Params
) -> dict[str, dict[str, float]]:
    """The paired interval of `name` against each of `others`."""
    rows = judged_people(per_user, protocol)
    values = {c: rows.filter(pl.col("candidate") == c) for c in (name, *others)}
    metric = params.gate.metric
    return paired_gaps(values[name], {c: values[c][metric].to_numpy() for c in others}, params)


def _standing(gaps: dict[str, dict[str, float]]) -> str:
    """How sure the lead over the others is, in words."""
    level = [c for c, gap in gaps.items() if gap["low"] <= 0 <= gap["high"]]
    behind = [c for c, gap in gaps.items() if gap["high"] < 0]
    if not (level or behind):
        return "surely better than every other candidate"
    better = len(gaps) - len(level) - len(behind)
    told = [f"surely better than {better} of {len(gaps)} other candidates"] if better else []
    told += [f"level with {', '.join(level)}"] if level else []
    return "; ".join(told + ([f"behind {', '.join(behind)}"] if behind else []))


def judged_people(per_user: pl.DataFrame, protocol: str) -> pl.DataFrame:
    """The rows by which a route is judged, in an order that all candidates share."""
    return per_user.filter(
        (pl.col("split").str.split("-").list.first() == protocol) & (pl.col("part") == "validation")
    ).sort("split", "target", "user")


def paired_gaps(
    one: pl.DataFrame, others: dict[str, NDArray[np.float64]], params: Params
) -> dict[str, dict[str, float]]:
    """Mean and interval of `gate.metric` in `one` minus each of `others` (rows of the same people).

    Each case (split and target) weighs the same, however many people it has.
    """
    case = ["split", "target"]
    sizes = one.group_by(case).len().rename({"len": "n"})
    scale = one.join(sizes, on=case, maintain_order="left")["n"].to_numpy()
    scale = len(one) / (scale * len(sizes))
    bootstrap = Bootstrap(
        len(one), params.evaluation.bootstrap, params.evaluation.confidence, params.seed
    )
    own = one[params.gate.metric].to_numpy() * scale
    found = {name: bootstrap.difference(own, other * scale) for name, other in others.items()}
    return {name: {"mean": f.mean, "low": f.low, "high": f.high} for name, f in found.items()}


def _unpaired(per_user: pl.DataFrame, protocol: str, params: Params) -> list[str]:
    """Whose values per person are not finite, or of other people than the baseline's."""
    rows, missing = judged_people(per_user, protocol), []
    asked = rows.filter(pl.col("candidate") == params.gate.baseline).select(*PERSON)
    for name in params.competitors:
        own = rows.filter(pl.col("candidate") == name)
        if not own.select(*PERSON).equals(asked):
            missing.append(f"{name} was not judged by the same people as the baseline ({protocol})")
        elif not own[params.gate.metric].is_finite().all():
            missing.append(
                f"{params.gate.metric} of {name} is not finite for somebody ({protocol})"
            )
    return missing


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
    decision = decide(metrics, read_stored(folder / "per_user.parquet"), params)
    if decision.winner is not None:
        _write_champion(workspace, decision, metrics)
    remove_leftovers(workspace.reports / "decision.json")
    write_json(workspace.reports / "decision.json", decision.model_dump())
    if decision.winner is None:
        raise GateRefused("the gate refuses a release:\n  " + "\n  ".join(decision.reasons))
    return decision


def _write_champion(workspace: Workspace, decision: Decision, metrics: dict[str, Any]) -> None:
    """Write the models that some route needs to `artifacts/champion/models`, after they took in
    everything that is logged."""
    splits = metrics["info"]["splits"]
    name = next(s for s in splits if s.split("-")[0] == decision.protocol)
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    split = Split.read(workspace.prepared, name, catalogue)
    vectors = read_vectors(workspace, len(catalogue))
    images = read_images(workspace, len(catalogue))
    known = replace(split.known(), vectors=vectors, images=images)
    with atomic_folder(workspace.champion) as folder:
        for route in sorted(set(decision.routes.values())):
            model = load(workspace.candidate(route) / name / "seed-0")
            model.update(known)
            save_whole(model, folder / "models", route)
        write_json(
            folder / "champion.json",
            {
                "candidate": decision.winner,
                "routes": decision.routes,
                "protocol": decision.protocol,
                "seed": workspace.params.seed,
                "models_sha256": file_hash(folder / "models"),
                "catalogue_sha256": file_hash(workspace.prepared / "items.parquet"),
                "split_hash": splits[name]["hash"],
            },
        )
