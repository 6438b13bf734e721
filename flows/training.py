"""The training flow: DVC's graph, one Prefect task per stage.

The order comes from `dvc.yaml` alone, and so do caching and lineage; Prefect adds what DVC has
not: a schedule, retries, logs, artifacts, a page to look at.
"""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from bridgerec.errors import BridgeRecError, GateRefused
from bridgerec.pipeline import graph
from bridgerec.runtime import prepare_environment, read_json

prepare_environment()


async def _transient(task: Any, run: Any, state: Any) -> bool:
    """Only a held DVC lock passes by itself; a failed stage fails again."""
    try:
        await state.aresult()
    except graph.Busy:
        return True
    except BaseException:
        return False
    return False


@task(
    name="stage",
    task_run_name="{stage}",
    cache_policy=NO_CACHE,
    retries=60,
    retry_delay_seconds=2,
    retry_condition_fn=_transient,
)
def run_stage(root: Path, stage: str, force: bool) -> None:
    """Reproduce one DVC stage; its output is this task's log."""
    graph.reproduce(root, stage, get_run_logger().info, force)


@flow(name="training", log_prints=True)
def training(
    workspace: str = ".",
    force: bool = False,
    stages: list[str] | None = None,
    concurrency: int = 1,
) -> None:
    """Run the whole pipeline; only what changed is recomputed, as with `dvc repro`.

    Args:
        workspace: Folder with params.yaml and dvc.yaml.
        force: Recompute even what did not change.
        stages: Stop after these stages (with all that they need); empty means every stage.
        concurrency: How many independent stages may run side by side.

    Raises:
        GateRefused: nothing failed, but the gate lets nobody pass.
        BridgeRecError: a stage failed; stages that need it did not run.
    """
    root = Path(workspace).resolve()
    plan = graph.needed(graph.stages(root), stages)
    runs: dict[str, PrefectFuture[None]] = {}
    try:
        # the plan is in running order, so the pool's first in, first out never waits for itself
        pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=max(1, concurrency))
        with pool as runner:
            for stage, before in plan.items():
                runs[stage] = runner.submit(
                    run_stage,
                    parameters={"root": root, "stage": stage, "force": force},
                    wait_for=[runs[b] for b in sorted(before)],
                )
            for run in runs.values():
                run.wait()
    finally:
        publish(root)
    _check(runs)


def _check(runs: dict[str, PrefectFuture[None]]) -> None:
    failed, waiting, refused = [], [], True
    for stage, run in runs.items():
        if run.state.is_completed():
            continue
        if run.state.name == "NotReady":
            waiting.append(stage)
            continue
        found = run.state.result(raise_on_failure=False)
        refused = refused and isinstance(found, GateRefused)
        failed.append(str(found) or f"stage {stage}: {run.state.name}")
    if failed or waiting:
        after = f"\nNot run, because they need it: {', '.join(waiting)}." if waiting else ""
        kind = GateRefused if failed and refused else BridgeRecError
        raise kind("\n".join(failed) + after)


def publish(root: Path) -> None:
    """Show the reports of the run as Prefect artifacts; what is not there is left out."""
    reports = root / "reports"
    if (reports / "validation" / "summary.md").is_file():
        text = (reports / "validation" / "summary.md").read_text(encoding="utf-8")
        create_markdown_artifact(text, key="validation", description="What was found in the data")
    if (reports / "evaluation" / "summary.json").is_file():
        rows = leaderboard(read_json(reports / "evaluation" / "summary.json"))
        create_table_artifact(rows, key="leaderboard", description="Test results")
    if (reports / "decision.json").is_file():
        text = decision_text(read_json(reports / "decision.json"))
        create_markdown_artifact(text, key="decision", description="The gate's decision")


def leaderboard(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of split, target, candidate and metrics from the evaluation's summary."""
    return [
        {"split": split, "target": target, "candidate": candidate, **metrics}
        for split, targets in summary.get("test", {}).items()
        for target, candidates in targets.items()
        for candidate, metrics in candidates.items()
    ]


def decision_text(decision: dict[str, Any]) -> str:
    """The decision and its reasons as Markdown."""
    if decision.get("released"):
        title = f"# {decision['winner']} may be released"
    else:
        title = "# Nothing may be released"
    lines = [f"- for {r} people: {c}" for r, c in decision.get("routes", {}).items()]
    lines += [f"- {reason}" for reason in decision.get("reasons", [])]
    return "\n".join([title, "", *lines])


if __name__ == "__main__":
    training()
