"""`bridgerec intake`: what the service accepted becomes training data."""

import json as json_module
from typing import Annotated

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace


def intake(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Take the service's new events and items into data/, as a new DVC version.

    All or nothing: data that break the contract are refused, and data/ stays as it was.
    """
    from bridgerec.operations.intake import take_in

    taken = take_in(Workspace.open(directory), lambda line: typer.echo(f"  {line}", err=True))
    if json:
        typer.echo(json_module.dumps(taken.as_dict(), indent=2, sort_keys=True))
        return
    typer.echo(taken.words)
    if taken.after != taken.before:
        typer.echo(
            f"data/ is at version {taken.after}. Next: `bridgerec run`, and commit data.dvc."
        )
