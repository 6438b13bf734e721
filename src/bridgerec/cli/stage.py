"""`bridgerec stage`: one stage of dvc.yaml, as DVC calls it."""

from typing import Annotated

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace


def stage(
    name: Annotated[
        str,
        typer.Argument(help="validate, prepare, embed, train, blend, evaluate, select or package."),
    ],
    candidate: Annotated[str | None, typer.Argument(help="With train: which one.")] = None,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Run one stage of dvc.yaml (DVC calls this; people use `dvc repro` or `bridgerec run`)."""
    from bridgerec.pipeline.stages import run_stage

    def say(text: str) -> None:  # not by typer's echo, which writes into the bars of a terminal
        print(f"  {text}", flush=True)

    run_stage(Workspace.open(directory), name, candidate, say)
