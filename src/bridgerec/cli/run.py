"""`bridgerec run`: the pipeline, through DVC."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, ConfigError


def repro(workspace: Workspace, *arguments: str) -> None:
    """Run `dvc repro` in the workspace with this interpreter's DVC.

    Raises:
        ConfigError: the workspace has no dvc.yaml.
        BridgeRecError: a stage failed; its own message is already on the screen.
    """
    if not (workspace.root / "dvc.yaml").is_file():
        raise ConfigError(
            f"{workspace.root} has no dvc.yaml; make a workspace with `bridgerec init`."
        )
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": scripts + os.pathsep + os.environ.get("PATH", "")}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", *arguments], cwd=workspace.root, env=environment
    )
    if done.returncode:
        raise BridgeRecError(
            "the pipeline stopped; the message of the failed stage is above. What finished is "
            "kept: correct the cause and run the same command again."
        )


def run(
    stages: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to bring up to date, with all that it needs: validate, prepare, embed, "
            "train, train@CANDIDATE, blend, evaluate, select, package.",
            show_default="all of them",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Recompute even what did not change.")
    ] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Run the pipeline; only what changed is recomputed (same as `dvc repro`)."""
    repro(Workspace.open(directory), *(stages or []), *(["--force"] if force else []))
