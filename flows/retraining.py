"""The retraining flow: new data in, the pipeline, and a new champion only if the gate lets it."""

from bridgerec.runtime import prepare_environment

prepare_environment()  # before Prefect reads it

from contextlib import suppress
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from bridgerec.config import Workspace
from bridgerec.errors import GateRefused
from bridgerec.flows.release import Outcome, attempt
from bridgerec.flows.training import patient, training
from bridgerec.operations.intake import Taken, take_in
from bridgerec.registry.current import read_current
from bridgerec.registry.store import Store


@task(name="intake", **patient)
def run_intake(workspace: Workspace) -> Taken:
    """What the service accepted since the last time becomes the next version of data/."""
    return take_in(workspace, get_run_logger().info)


@flow(name="retraining")
def retraining(
    workspace: str = ".",
    intake: bool = True,
    force: bool = False,
    reason: str = "started by hand",
) -> dict[str, Any]:
    """Take in new data, train, and replace the champion if the gate lets the new one pass.

    A refused candidate is no failure: the run ends well and says why the champion was kept.

    Args:
        workspace: Folder with params.yaml, dvc.yaml, data/ and state/.
        intake: Take in what the service accepted (events and items) before training.
        force: Recompute even what did not change.
        reason: Why this run was started; a drift event writes its own words here.

    Returns:
        `outcome` (promoted, kept, unchanged), `words`, `reason`, `release` (what was tried; None:
        nothing was packaged), `before` and `live` (the champion before and after), `taken` (what
        came in; None: nobody looked), `reasons` (of the gate).

    Raises:
        DataError: the new data are refused; data/ is as it was.
        BridgeRecError: a stage failed, or the Bento does not answer.
    """
    place = Workspace.open(workspace)
    story: dict[str, Any] = {"reason": reason, "before": read_current(Store.of(place)).release}
    try:
        if intake:
            taken = run_intake(place)
            story["taken"] = {**taken.as_dict(), "words": taken.words}
        with suppress(GateRefused):  # the decision says so too, and the attempt reads it
            training(workspace=str(place.root), force=force)
        story |= told(attempt(place), story["before"])
        story["live"] = read_current(Store.of(place)).release
    except BaseException as error:
        story |= {"outcome": "failed", "words": f"failed: {error or type(error).__name__}"}
        raise
    finally:
        create_markdown_artifact(
            page(story), key="retraining", description="What started it, and what came of it"
        )
    get_run_logger().info(story["words"])
    return story


def told(outcome: Outcome, before: str | None) -> dict[str, Any]:
    """`outcome`, `words`, `release` and `reasons` of the story."""
    found: dict[str, Any] = {"release": outcome.release, "reasons": list(outcome.reasons)}
    if not outcome.live:
        kept = f"kept the champion {before}" if before else "nothing is live"
        return {**found, "outcome": "kept", "words": f"{kept} because {outcome.words}"}
    same = outcome.release == before
    return {**found, "outcome": "unchanged" if same else "promoted", "words": outcome.words}


def page(story: dict[str, Any]) -> str:
    """The story as Markdown, the end first; what a failed run did not reach is left out."""
    title, _, rest = story["words"].partition("\n")
    lines = [f"# {title}", "", *([rest, ""] if rest else []), f"- started by: {story['reason']}"]
    if taken := story.get("taken"):
        lines.append(f"- {taken['words']}")
        if taken["before"] != taken["after"]:
            lines.append(f"- data/ went from version `{taken['before']}` to `{taken['after']}`")
    elif story["outcome"] != "failed":
        lines.append("- data/ as it was: no intake was asked for")
    if "live" in story:
        lines.append(f"- champion before: `{story['before'] or 'none'}`")
        lines.append(f"- candidate: `{story['release'] or 'none was packaged'}`")
        lines.append(f"- champion now: `{story['live'] or 'none'}`")
        lines += ["", "## What the gate found", "", *(f"- {r}" for r in story["reasons"])]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    retraining()
