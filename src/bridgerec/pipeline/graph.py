"""DVC's own graph, and one of its stages at a time: what the Prefect flow is made of."""

import os
from collections.abc import Callable, Iterable
from graphlib import TopologicalSorter
from pathlib import Path

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, ConfigError, GateRefused
from bridgerec.pipeline.command import dvc
from bridgerec.progress import PROGRESS

NETWORK = (
    *("Temporary failure in name resolution", "Connection reset by peer", "Connection refused"),
    *("Connection aborted", "Read timed out", "Connection timed out", "Max retries exceeded"),
    *("429 Client Error", "502 Server Error", "503 Server Error", "504 Server Error"),
)
REFUSED = f"bridgerec stage select, exited with {GateRefused.exit_code}"
BUSY = ("Unable to acquire lock", "it is being blocked by")  # DVC's lock, DVC's rwlock


class Busy(BridgeRecError):
    """Another DVC process holds the lock; trying again later helps."""


class Unreachable(BridgeRecError):
    """Another machine did not answer; trying again later may help."""


def stages(root: Path) -> dict[str, set[str]]:
    """Every stage of the workspace with the stages that it depends on, from DVC's graph.

    The keys are addresses as `dvc repro` takes them in `root` (`embed`, `train@item_knn`), in an
    order in which they can be run.  Tracked data (`*.dvc`) are not stages, nor is what lies in kept
    releases.

    Raises:
        ConfigError: there is no `dvc.yaml`, or DVC cannot read it.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

    if not (root / "dvc.yaml").is_file():
        raise ConfigError(
            f"{root} has no dvc.yaml. Name a workspace, or make one with `bridgerec init`."
        )
    try:
        with Repo(str(root)) as repo:
            graph = repo.index.graph  # edges lead from a stage to what it needs
            declared = [s for s in graph if isinstance(s, PipelineStage) and not _kept(s, root)]
            names = {s: _address(s, root) for s in declared}
            found = {
                name: {names[d] for d in graph.successors(stage) if d in names}
                for stage, name in sorted(names.items(), key=lambda pair: pair[1])
            }
    except DvcException as error:
        raise ConfigError(
            f"{root / 'dvc.yaml'}: DVC cannot read the pipeline: {error} "
            f"{error.__cause__ or ''}Run `dvc dag` there to see the same message."
        ) from error
    return {name: found[name] for name in TopologicalSorter(found).static_order()}


def _address(stage: "object", root: Path) -> str:
    """The stage's name; DVC's own `addressing` depends on the current directory."""
    path, name = Path(stage.path), str(stage.name)  # type: ignore[attr-defined]
    inside = os.path.relpath(path, root.resolve())
    return name if inside == "dvc.yaml" else f"{inside}:{name}"


def _kept(stage: "object", root: Path) -> bool:
    """Whether a stage is declared inside of a kept release, whose Bento holds all of BridgeRec's
    files; without git nothing tells DVC not to look there."""
    path = Path(stage.path)  # type: ignore[attr-defined]
    return path.is_relative_to(Workspace.open(root).releases)


def needed(graph: dict[str, set[str]], wanted: list[str] | None) -> dict[str, set[str]]:
    """The part of the graph that the wanted stages need; `train` means every `train@…`.

    Raises:
        ConfigError: a wanted stage does not exist.
    """
    if not wanted:
        return graph
    todo: list[str] = []
    for name in wanted:
        found = [s for s in graph if s == name or s.startswith(f"{name}@")]
        if not found:
            raise ConfigError(f"there is no stage {name!r}; the stages are {', '.join(graph)}.")
        todo += found
    kept: set[str] = set()
    while todo:
        stage = todo.pop()
        if stage not in kept:
            kept.add(stage)
            todo += graph[stage]
    return {stage: before for stage, before in graph.items() if stage in kept}


def changed(root: Path) -> set[str]:
    """The stages of which DVC sees that something changed; those that need them may follow.

    Where DVC cannot tell, because another process holds its lock, all of them.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            names = {s.addressing: _address(s, root) for s in repo.index.stages if s.cmd}
            found = repo.status()
            return {names[told] for told in found if told in names}
    except LockError:
        return set(stages(root))
    except DvcException as error:
        raise ConfigError(f"{root}: DVC cannot tell what changed: {error}") from error


def with_searches(
    graph: dict[str, set[str]], candidates: Iterable[str], prefix: str
) -> dict[str, set[str]]:
    """The graph with a node `PREFIXcandidate` before the training of each of them that it has."""
    found: dict[str, set[str]] = {}
    wanted = {f"train@{candidate}": f"{prefix}{candidate}" for candidate in candidates}
    for stage, before in graph.items():
        if stage in wanted:
            found[wanted[stage]] = set(before)
            before = {*before, wanted[stage]}
        found[stage] = before
    return found


def reproduce(
    root: Path, stage: str, say: Callable[[str], None] = print, force: bool = False
) -> None:
    """`dvc repro --single-item` of one stage; every line of its output goes to `say`.

    Raises:
        Busy: another DVC process holds the lock.
        GateRefused: it is the gate's stage, and nobody may be released.
        Unreachable: the network failed the stage.
        BridgeRecError: the stage failed; the message ends with the stage's own last lines.
    """
    code, output = dvc(
        root,
        "repro",
        "--single-item",
        *(["--force"] * force),
        stage,
        say=say,
        around={PROGRESS: "1"},
    )
    if code == 0:
        return
    if any(sign in output for sign in BUSY):
        raise Busy(f"stage {stage}: another DVC process is at work in {root}; try again later.")
    if REFUSED in output:
        raise GateRefused(f"stage {stage}: nothing may be released. Its last lines:\n{output}")
    kind = Unreachable if any(sign in output for sign in NETWORK) else BridgeRecError
    raise kind(
        f"stage {stage} failed in {root}. Correct the cause and run again; what finished is kept. "
        f"Its last lines:\n{output}"
    )
