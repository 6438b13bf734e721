"""`bridgerec doctor`: is this machine and environment fit to run BridgeRec?"""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, ConfigError

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    level: Level
    subject: str
    message: str


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(p) for p in text.split("+")[0].split(".")[:3] if p.isdigit())


# package, first version that is too new, what breaks (each was met)
TOO_NEW = (
    ("pandas", (3, 1), "evidently 0.7 cannot be imported with it"),
    ("fastapi", (0, 151), "prefect 3.8's server breaks with newer ones"),
    ("sqlalchemy", (2, 1), "prefect 3.8's scheduler then silently creates no runs"),
    ("torch", (2, 14), "not tested"),
    ("bentoml", (2,), "not tested"),
    ("prefect", (4,), "not tested"),
)
TOO_OLD = (
    ("prefect", (3, 8, 8)),
    ("bentoml", (1, 4, 39)),
    ("evidently", (0, 7, 23)),
    ("torch", (2, 8)),
    ("transformers", (4, 57)),
    ("great-expectations", (1, 5)),
    ("dvc", (3, 60)),
)


def check_versions() -> Iterator[Finding]:
    """Missing packages and the version pairs that are known to break."""
    yield Finding("ok", "python", sys.version.split()[0])
    for name, floor in TOO_OLD:
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding("problem", name, "is not installed; run `pip install bridgerec`")
            continue
        if _release(found) < floor:
            wanted = ".".join(map(str, floor))
            yield Finding("problem", name, f"{found} is too old; install >= {wanted}")
        else:
            yield Finding("ok", name, found)
    for name, ceiling, reason in TOO_NEW:
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if _release(found) >= ceiling:
            wanted = ".".join(map(str, ceiling))
            yield Finding("problem", name, f"{found}: {reason}; install < {wanted}")


def check_machine(workspace: Workspace) -> Iterator[Finding]:
    """Disk, memory, threads and environment variables."""
    import psutil

    free = shutil.disk_usage(workspace.root).free / 1e9
    level: Level = "ok" if free > 5 else "warning" if free > 1 else "problem"
    yield Finding(level, "disk", f"{free:.1f} GB free in the workspace (a run needs 1–5 GB)")
    memory = psutil.virtual_memory().available / 1e9
    yield Finding("ok" if memory > 4 else "warning", "memory", f"{memory:.1f} GB available")
    may_use = getattr(os, "sched_getaffinity", None)  # not on every system
    usable = len(may_use(0)) if may_use else os.cpu_count() or 1
    yield Finding("ok", "processors", f"{usable}")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) > usable:
        yield Finding(
            "warning",
            "OMP_NUM_THREADS",
            f"is {threads}, but {usable} processors may be used: threads will wait for each other. "
            "Lower or unset it.",
        )
    policy = os.environ.get("OMP_WAIT_POLICY", "")
    if policy.lower() == "passive":
        yield Finding(
            "ok",
            "OMP_WAIT_POLICY",
            "passive (BridgeRec's commands set it; export it for scripts of your own)",
        )
    else:
        yield Finding(
            "warning",
            "OMP_WAIT_POLICY",
            f"is {policy or 'not set'}: threads that spin while others compute are many times "
            "slower. Unset it, and BridgeRec sets it to passive.",
        )
    if core := os.environ.get("OPENBLAS_CORETYPE"):
        yield Finding(
            "warning",
            "OPENBLAS_CORETYPE",
            f"is set to {core}; on a newer processor this halves the speed of numpy. Unset it.",
        )


def check_workspace(workspace: Workspace) -> Iterator[Finding]:
    """Are the files there, and is params.yaml right?"""
    try:
        params = workspace.params
    except ConfigError as error:
        yield Finding("warning", "params.yaml", str(error))
        return
    yield Finding("ok", "params.yaml", f"{len(params.data.domains)} domains")
    if params.embed.text.precision == "int8":
        from bridgerec.encoders.int8 import has_products

        if not has_products():
            yield Finding(
                "warning",
                "embed.text.precision",
                "int8: this processor or PyTorch has no fast products of 8-bit integers, so the "
                "encoder multiplies them in float32, which is slower. auto is faster here.",
            )
    for name, domain in params.data.domains.items():
        for table in (domain.interactions, domain.items):
            if not workspace.table(table).is_file():
                yield Finding("warning", name, f"{table} does not exist (yet)")
    for file in ("dvc.yaml", "bentofile.yaml", "expectations"):
        if not (workspace.root / file).exists():
            yield Finding("warning", file, "is missing in the workspace")


def doctor(directory: Directory = HERE, debug: Debug = False) -> None:
    """Check versions, pairs of them that break, disk, memory, threads and the workspace."""
    from rich.console import Console

    workspace, console = Workspace.open(directory), Console()
    if not workspace.root.is_dir():
        raise ConfigError(f"there is no folder {workspace.root}. Name a workspace after -C.")
    signs = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "problem": "[red]✗[/]"}
    findings = [*check_versions(), *check_machine(workspace), *check_workspace(workspace)]
    for finding in findings:
        console.print(f"{signs[finding.level]} [bold]{finding.subject}[/] {finding.message}")
    problems = sum(f.level == "problem" for f in findings)
    if problems:
        raise BridgeRecError(f"{problems} problem(s) found; see ✗ above.")
    console.print("\nNo problems found.")
