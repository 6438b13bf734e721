"""`bridgerec down`: the end of what `bridgerec up` started."""

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace


def down(directory: Directory = HERE, debug: Debug = False) -> None:
    """Stop what `bridgerec up` started here, and nothing else."""
    from bridgerec.operations.control import down as stop

    stop(Workspace.open(directory), typer.echo)
