"""The release flow: gate, build, try over HTTP, keep, try on some people, promote or refuse."""

from bridgerec.runtime import prepare_environment

prepare_environment()  # before Prefect reads it

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import NO_CACHE

from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError, GateRefused
from bridgerec.operations.canary import try_on_some
from bridgerec.pipeline import graph
from bridgerec.registry.current import hindrance, promote, read_current, refusal
from bridgerec.registry.store import Release, Store
from bridgerec.registry.verdict import Trial, Verdict, judge
from bridgerec.runtime import read_json
from bridgerec.serving.switch import control_file, follow
from bridgerec.serving.trial import try_bento


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: `release` is kept under that id (None: nothing was packaged),
    `live` or not; `refused`: by the gate, a budget, the comparison with the live release, or its
    trial; `reasons` are those of the decision and of the verdict."""

    release: str | None
    live: bool
    refused: bool
    words: str
    reasons: tuple[str, ...]


@task(cache_policy=NO_CACHE)
def read_decision(workspace: Workspace) -> dict[str, Any]:
    """The gate's decision."""
    path = workspace.reports / "decision.json"
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist. Run the training flow or `bridgerec run`.")
    decision: dict[str, Any] = read_json(path)
    return decision


@task(cache_policy=NO_CACHE)
def build(workspace: Workspace) -> Path:
    """Package the winner, unless that Bento is there already; returns its folder."""
    graph.reproduce(workspace.root, "package", get_run_logger().info)
    return workspace.bento


@task(cache_policy=NO_CACHE)
def smoke_test(bento: Path, targets: list[str]) -> Trial:
    """Serve the Bento and ask for every target; how long the answers took."""
    return try_bento(bento, targets)


@task(cache_policy=NO_CACHE)
def give_verdict(workspace: Workspace, trial: Trial) -> Verdict:
    """The budgets, and the live release as a rival on today's data."""
    return judge(workspace, trial)


@task(cache_policy=NO_CACHE)
def keep(workspace: Workspace, verdict: Verdict) -> Release:
    """Copy the Bento with its dossier and verdict to `releases/`, also a refused one."""
    return Store.of(workspace).keep(workspace, verdict.model_dump(mode="json"))


@task(cache_policy=NO_CACHE)
def canary(workspace: Workspace, release: Release) -> str | None:
    """Where a service runs, let some people have it first; why it was rolled back, or None."""
    if hindrance(Store.of(workspace), release) is not None:
        return None
    tried = try_on_some(workspace, release)
    if tried is None:
        return None
    get_run_logger().info(tried.words)
    create_markdown_artifact(tried.words, key="release-canary", description="The trial")
    return None if tried.reason is None else tried.words


@task(cache_policy=NO_CACHE)
def make_live(workspace: Workspace, release: Release) -> str:
    """Point `releases/current.json` at it and let a running service go over; or why not.

    Raises:
        GateRefused: the verdict refuses.
    """
    store = Store.of(workspace)
    if read_current(store).release == release.id:
        return f"{release.id} is live already"
    if not release.verdict["allowed"]:
        promote(store, release)  # says why, and how a person overrides it
    why_not = hindrance(store, release)
    if why_not is not None:
        return f"{release.id} is kept but not live: {why_not}"
    promote(store, release)
    follow(control_file(workspace), release.bento)
    return f"{release.id} is live"


@flow(name="release")
def release(workspace: str = ".") -> str:
    """Release the winner if the gate allows it and its Bento answers; returns the release's id.

    Args:
        workspace: Folder with params.yaml, dvc.yaml and a finished pipeline.

    Raises:
        GateRefused: the gate, a budget, the comparison with the live release, or the trial
            refuses.
        ArtifactError: the decision or the Bento is missing, or the Bento does not answer.
    """
    outcome = attempt(Workspace.open(workspace))
    if outcome.refused or outcome.release is None:
        raise GateRefused(outcome.words)
    return outcome.release


def attempt(workspace: Workspace) -> Outcome:
    """The tasks of a release, in the flow run that calls it; a refusal is an outcome here.

    Raises:
        ArtifactError: the decision or the Bento is missing, or the Bento does not answer.
    """
    decision = read_decision(workspace)
    if not decision["released"]:
        words = "the gate refuses a release:\n  " + "\n  ".join(decision["reasons"])
        return Outcome(None, False, True, words, tuple(decision["reasons"]))
    trial = smoke_test(build(workspace), list(workspace.params.target_domains))
    verdict = give_verdict(workspace, trial)
    kept = keep(workspace, verdict)
    publish(workspace, kept, decision, verdict)
    store = Store.of(workspace)
    live_already = read_current(store).release == kept.id
    refused = None if live_already else refusal(kept) or canary(workspace, kept)
    words = refused or make_live(workspace, kept)
    get_run_logger().info(words)
    create_markdown_artifact(
        f"# {words}\n\n{decision['winner']}, kept in `{kept.folder}`\n",
        key="release",
        description="What is live now",
    )
    live = read_current(store).release == kept.id
    reasons = (*decision["reasons"], *verdict.reasons)
    return Outcome(kept.id, live, refused is not None, words, reasons)


def publish(
    workspace: Workspace, kept: Release, decision: dict[str, Any], verdict: Verdict
) -> None:
    """The decision as a table, its reasons, and where the reports are."""
    rows = [
        {"route": route, "candidate": name, "value": round(found["value"], 4), "against": None}
        for route, candidates in decision["candidates"].items()
        for name, found in candidates.items()
        if name == decision["routes"][route]
    ]
    rows += [
        {
            "route": gap["route"],
            "candidate": gap["new"],
            "value": round(gap["mean"], 4),
            "against": f"{gap['live']} of {verdict.live}: [{gap['low']:+.4f}, {gap['high']:+.4f}]",
        }
        for gap in verdict.against_live
    ]
    create_table_artifact(rows, key="release-decision", description=f"{decision['metric']}")
    title = "allowed" if verdict.allowed else "refused"
    lines = [f"# {kept.id} is {title}", ""]
    lines += [f"- {reason}" for reason in (*decision["reasons"], *verdict.reasons)]
    if verdict.trial is not None:
        lines.append(
            f"- {verdict.trial.requests} requests: {verdict.trial.p50_milliseconds:g} ms in the "
            f"middle, {verdict.trial.p95_milliseconds:g} ms at the 95th percentile; "
            f"{verdict.trial.bento_megabytes:g} MB"
        )
    create_markdown_artifact("\n".join(lines), key="release-reasons", description="Why")
    page = workspace.reports / "evaluation" / "index.html"
    create_link_artifact(page.as_uri(), key="release-evaluation", link_text="the evaluation")


if __name__ == "__main__":
    release()
