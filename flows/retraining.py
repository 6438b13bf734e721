"""The retraining flow: new data in, the pipeline, and a new champion only if the gate lets it."""

import sys
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from bridgerec.config import Workspace
from bridgerec.operations.intake import Taken, take_in
from bridgerec.registry.current import read_current
from bridgerec.registry.store import Store
from bridgerec.runtime import prepare_environment

sys.path.insert(0, str(Path(__file__).parents[1]))  # also when it is started as a script
from flows.release import Outcome, attempt
from flows.training import training

prepare_environment()


@task(name="intake", cache_policy=NO_CACHE)
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
        nothing was packaged), `live` (what is live now), `before` (what was), `taken`.

    Raises:
        DataError: the new data are refused; data/ is as it was.
        BridgeRecError: a stage failed, or the Bento does not answer.
    """
    place = Workspace.open(workspace)
    story: dict[str, Any] = {"reason": reason, "before": read_current(Store.of(place)).release}
    try:
        taken = run_intake(place) if intake else None
        story["taken"] = None if taken is None else taken.as_dict()
        training(workspace=str(place.root), force=force)
        story |= told(attempt(place), story["before"])
        story["live"] = read_current(Store.of(place)).release
    except BaseException as error:
        story["words"] = f"failed: {error}"
        raise
    finally:
        create_markdown_artifact(
            page(story), key="retraining", description="What started it, and what came of it"
        )
    get_run_logger().info(story["words"])
    return story


def told(outcome: Outcome, before: str | None) -> dict[str, Any]:
    """`outcome`, `words` and `release` of the story."""
    if not outcome.live:
        kept = f"kept the champion {before}" if before else "released nothing"
        return {
            "outcome": "kept",
            "words": f"{kept} because {outcome.words}",
            "release": outcome.release,
        }
    same = outcome.release == before
    return {
        "outcome": "unchanged" if same else "promoted",
        "words": outcome.words,
        "release": outcome.release,
    }


def page(story: dict[str, Any]) -> str:
    """The story as Markdown: the end first."""
    lines = [f"# {story['words']}", "", f"Started because: {story['reason']}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    retraining()
