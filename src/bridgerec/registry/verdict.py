"""May this Bento become live?  The decision, the budgets, and the live release as a rival."""

import math
from typing import Any

from pydantic import BaseModel, ConfigDict

from bridgerec.config import Guards, Workspace
from bridgerec.errors import ArtifactError
from bridgerec.registry.current import live
from bridgerec.registry.guards import failures
from bridgerec.registry.store import Store
from bridgerec.runtime import BrokenFile, read_json


class Trial(BaseModel):
    """What was measured on the built Bento: its size, and how long answers took."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: str
    requests: int
    p50_milliseconds: float
    p95_milliseconds: float
    bento_megabytes: float


class Verdict(BaseModel):
    """`allowed`, every reason, and the numbers; a reason that begins with "refused" refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allowed: bool
    reasons: list[str]
    against_live: list[dict[str, Any]]
    live: str | None
    trial: Trial | None


def judge(workspace: Workspace, trial: Trial | None) -> Verdict:
    """The verdict on the packaged Bento.

    Raises:
        ArtifactError: there is no decision.
    """
    path = workspace.reports / "decision.json"
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist. Run the training flow or `bridgerec run`.")
    decision, guards = read_json(path), workspace.params.gate.guards
    current = live(Store.of(workspace))
    if not decision["released"]:
        reasons = [r for r in decision["reasons"] if r.startswith("refused")]
        return Verdict(allowed=False, reasons=reasons or ["refused by the gate"], against_live=[],
                       live=current.id if current else None, trial=trial)  # fmt: skip
    reasons, gaps = budgets(trial, guards), list[dict[str, Any]]()
    if current is None:
        reasons.append("nothing is live yet, so there is nothing to compare with")
    elif trial is not None and current.id == trial.release:
        reasons.append(f"{current.id} is live already")
    elif guards.current == "ignore":
        reasons.append(f"not compared with {current.id}: gate.guards.current is ignore")
    else:
        told, gaps = _compared(workspace, current, guards)
        reasons += told
    allowed = not any(reason.startswith("refused") for reason in reasons)
    return Verdict(allowed=allowed, reasons=reasons, against_live=gaps,
                   live=current.id if current else None, trial=trial)  # fmt: skip


def budgets(trial: Trial | None, guards: Guards) -> list[str]:
    """The budgets in words; one that is set but was not measured refuses."""
    lines = []
    for name, most, unit in (
        ("bento_megabytes", guards.max_bento_megabytes, "MB, the Bento"),
        ("p95_milliseconds", guards.max_p95_milliseconds, "ms, the answers' 95th percentile"),
    ):
        if most is None:
            continue
        found = getattr(trial, name) if trial is not None else math.nan
        fits = found <= most  # false for what is not finite
        lines.append(f"{'' if fits else 'refused: '}{found:.1f} {unit}; allowed are {most:g}")
    return lines


def _compared(
    workspace: Workspace, current: Any, guards: Guards
) -> tuple[list[str], list[dict[str, Any]]]:
    from bridgerec.registry.rival import against

    try:
        gaps = against(workspace, current)
    except (ArtifactError, BrokenFile, KeyError, OSError) as error:
        return [f"refused: {current.id}, which is live, cannot be compared: {error}"], []
    if not gaps:
        return [f"refused: {current.id}, which is live, shares no case with today's data"], []
    reasons = []
    for gap in gaps:
        fine = gap["low"] > 0 if guards.current == "better" else gap["high"] >= 0
        reasons.append(
            f"{'' if fine else 'refused: '}{gap['route']}: {gap['new']} against {gap['live']} of "
            f"{current.id}, which is live: {gap['mean']:+.4f} [{gap['low']:+.4f}, "
            f"{gap['high']:+.4f}] {gap['metric']} on {gap['people']:,} people of validation"
        )
        reasons += [
            f"refused: {gap['route']}: {gap['new']} against {gap['live']} of {current.id}, which "
            f"is live: {line}"
            for line in failures(gap["guarded"])
        ]
    return reasons, gaps
