"""The training flow: DVC's graph, one Prefect task per stage.

The order comes from `dvc.yaml` alone, and so do caching and lineage; Prefect adds what DVC has
not: a form, a schedule, retries, logs, artifacts, a page to look at.  A run with overrides happens
in a folder of its own and is kept as a DVC experiment.
"""

from bridgerec.runtime import prepare_environment

prepare_environment()  # before Prefect reads it

from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field, WithJsonSchema

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, GateRefused
from bridgerec.flows.shown import Bar, Bars, publish, publish_experiment
from bridgerec.pipeline import graph
from bridgerec.pipeline.experiment import Experiment, check, experiment
from bridgerec.pipeline.overrides import Overrides, choices

DOMAINS, MODELS = choices(Path())  # of the workspace that is deployed
Target = Annotated[str, WithJsonSchema({"type": "string", **DOMAINS})]
Candidate = Annotated[str, WithJsonSchema({"type": "string", **MODELS})]
BACK_OFF = [1, 2, 4, 8, 16, 30, *[60] * 14]  # seconds; a lock may be held for minutes
NETWORK_TRIES = 5
SEARCH = "tune@"
_params_file = Lock()


async def _transient(task: Any, run: Any, state: Any) -> bool:
    """A held lock passes by itself, and so may a broken connection; a failed stage fails again."""
    try:
        await state.aresult()
    except graph.Busy:
        return True
    except graph.Unreachable:
        return bool(run.run_count <= NETWORK_TRIES)
    except BaseException:
        return False
    return False


patient: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": len(BACK_OFF),
    "retry_delay_seconds": BACK_OFF,
    "retry_jitter_factor": 0.2,
    "retry_condition_fn": _transient,
}


@task(name="stage", task_run_name="{stage}", **patient)
def run_stage(root: Path, stage: str, force: bool, changed: bool, before: list[bool]) -> bool:
    """Reproduce one DVC stage, its output being this task's log; whether DVC was asked at all.

    `changed`: DVC saw a change when the run began; `before`: what this gave for the stages that
    this one needs.  Where neither is so, there is nothing to ask.
    """
    log = get_run_logger()
    if not (force or changed or any(before)):
        log.info("nothing changed, nothing to do")
        return False
    graph.reproduce(root, stage, Bars(stage, log.info), force)
    return True


@task(name="search", task_run_name="{stage}", cache_policy=NO_CACHE)
def run_search(root: Path, stage: str, before: list[bool]) -> bool:
    """Search for better options of one candidate; if there are any, write them to params.yaml."""
    from bridgerec.tuning.search import Search, State

    candidate, log = stage.removeprefix(SEARCH), get_run_logger()
    bar = Bar(f"progress-{stage}", stage)

    def tell(state: State) -> None:
        best = "" if state.value is None else f", best {state.value:.4f}"
        bar.description = f"{stage}: {state.trials} trials ({state.given_up} given up){best}"
        bar.reach(100 * min(state.share, 1.0))

    result = Search(Workspace.open(root), candidate).run(tell)
    log.info("%s: %s", candidate, result.changes if result.better else "its options stay")
    if result.better:
        with _params_file:
            result.write(root / "params.yaml")
    return result.better


@task(name="check", **patient)
def run_check(root: Path, overrides: Overrides) -> None:
    """Whether a run with these overrides could be kept and repeated."""
    check(root, overrides)


@task(name="data", **patient)
def run_data(found: Experiment) -> None:
    """The files of the data's version, from DVC's cache or from the remote storage."""
    found.take_data(get_run_logger().info)


@task(name="save", **patient)
def run_save(found: Experiment) -> None:
    """Keep the finished run as a DVC experiment."""
    found.save(get_run_logger().info)


@flow(name="training", log_prints=True)
def training(
    workspace: str = ".",
    targets: tuple[Target, ...] = (),
    candidates: tuple[Candidate, ...] = (),
    encoder: str = "",
    data_version: str = "",
    tune: Annotated[int, Field(ge=0, le=10_000)] = 0,
    force: bool = False,
    stages: tuple[str, ...] = (),
    concurrency: Annotated[int, Field(ge=1, le=64)] = 1,
) -> str | None:
    """Run the whole pipeline; only what changed is recomputed, as with `dvc repro`.

    With one of the overrides (the five after `workspace`) the workspace and its params.yaml stay as
    they are, and the run is kept as a DVC experiment under the name of the flow run: `dvc exp show`
    compares, `dvc exp apply NAME` makes the workspace what the experiment was.

    Args:
        workspace: Folder with params.yaml and dvc.yaml.
        targets: Override: recommend in these domains only. Empty: as params.yaml says.
        candidates: Override: only these models compete (and the gate's baseline). Empty: as
            params.yaml says.
        encoder: Override: the pretrained text encoder, a hub id or a folder. Empty: as params.yaml
            says.
        data_version: Override: the data as of this git revision, tag or experiment. Empty: the
            data that are there.
        tune: Override: search for better options first, with this many trials per candidate. 0: no
            search.
        force: Recompute even what did not change.
        stages: Stop after these stages (with all that they need). Empty: every stage.
        concurrency: How many independent stages may run side by side.

    Returns:
        The experiment's name; None where the workspace itself was brought up to date.

    Raises:
        ConfigError: an override is wrong, or the workspace cannot keep experiments.
        GateRefused: nothing failed, but the gate lets nobody pass.
        BridgeRecError: a stage failed; stages that need it did not run.
    """
    root = Path(workspace).resolve()
    overrides = Overrides(targets, candidates, encoder.strip(), data_version.strip(), tune)
    if not overrides:
        try:
            _run(root, stages, force, concurrency)
        finally:
            publish(root, root / "reports")
        return None
    run_check(root, overrides)
    with experiment(root, flow_run.name or "training", overrides) as found:
        get_run_logger().info("experiment %s: %s", found.name, "; ".join(overrides.words))
        run_data(found)
        saved = False
        try:
            _run(found.root, stages, force, concurrency, _searches(found.root, tune))
            run_save(found)
            saved = True
        finally:
            publish(root, found.keep_reports())
            publish_experiment(found, overrides, saved)
    return found.name


def _searches(root: Path, trials: int) -> tuple[str, ...]:
    """The candidates to tune."""
    if not trials:
        return ()
    from bridgerec.tuning.space import tunable

    return tunable(Workspace.open(root).params)


def _run(
    root: Path,
    wanted: tuple[str, ...],
    force: bool,
    concurrency: int,
    searched: tuple[str, ...] = (),
) -> None:
    plan = graph.needed(graph.stages(root), list(wanted))
    changed = set(plan) if force else graph.changed(root)
    plan = graph.with_searches(plan, searched, SEARCH)
    runs: dict[str, PrefectFuture[bool]] = {}
    # the plan is in running order, so the pool's first in, first out never waits for itself
    pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=max(1, concurrency))
    bar = Bar("progress", f"0 of {len(plan)} stages")
    with pool as runner:
        for stage, needs in plan.items():
            given: dict[str, Any] = {"root": root, "stage": stage}
            given["before"] = [runs[b] for b in sorted(needs)]
            if stage.startswith(SEARCH):
                runs[stage] = runner.submit(run_search, parameters=given)
            else:
                given |= {"force": force, "changed": stage in changed}
                runs[stage] = runner.submit(run_stage, parameters=given)
        for done, run in enumerate(runs.values(), start=1):
            run.wait()
            bar.description = f"{done} of {len(plan)} stages"
            bar.reach(100 * done / len(plan))
    _check(runs)


def _check(runs: dict[str, PrefectFuture[bool]]) -> None:
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


if __name__ == "__main__":
    training()
