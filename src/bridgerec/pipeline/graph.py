"""DVC's own graph, and one of its stages at a time: what the Prefect flow is made of."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path

from bridgerec.errors import BridgeRecError, ConfigError, GateRefused

BUSY = ("Unable to acquire lock", "it is being blocked by")  # DVC's lock, DVC's rwlock
KEPT_LINES = 25
REFUSED = f"bridgerec stage select, exited with {GateRefused.exit_code}"


class Busy(BridgeRecError):
    """Another DVC process holds the lock; trying again later helps."""


def stages(root: Path) -> dict[str, set[str]]:
    """Every stage of the workspace with the stages that it depends on, from DVC's graph.

    The keys are addresses as `dvc repro` takes them in `root` (`embed`, `train@item_knn`), in an
    order in which they can be run.  Tracked data (`*.dvc`) are not stages, and neither is what a
    kept release brings along: the package's templates hold a `dvc.yaml` too.

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
            kept = (root / "releases").resolve()
            names = {
                s: _address(s, root)
                for s in graph
                if isinstance(s, PipelineStage) and not Path(s.path).is_relative_to(kept)
            }
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


def reproduce(
    root: Path, stage: str, say: Callable[[str], None] = print, force: bool = False
) -> None:
    """`dvc repro --single-item` of one stage; every line of its output goes to `say`.

    Raises:
        Busy: another DVC process holds the lock.
        GateRefused: it is the gate's stage, and nobody may be released.
        BridgeRecError: the stage failed; the message ends with the stage's own last lines.
    """
    # `bridgerec` and `dvc` of this environment, whether or not it is activated
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--single-item", *(["--force"] * force), stage],
        cwd=root,
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    last: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if text := line.rstrip():
                last.append(text)
                say(text)
        code = process.wait()
    finally:
        if process.poll() is None:  # the flow was cancelled
            process.terminate()
            process.wait()
    if code == 0:
        return
    output = "\n".join(last)
    if any(sign in output for sign in BUSY):
        raise Busy(f"stage {stage}: another DVC process is at work in {root}; try again later.")
    if REFUSED in output:
        raise GateRefused(f"stage {stage}: nothing may be released. Its last lines:\n{output}")
    raise BridgeRecError(
        f"stage {stage} failed in {root}. Correct the cause and run again; what finished is kept. "
        f"Its last lines:\n{output}"
    )
