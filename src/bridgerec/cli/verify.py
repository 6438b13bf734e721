"""`bridgerec verify`: every hash between the rows and a Bento, computed again."""

import json as json_module
from dataclasses import asdict
from typing import Annotated

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError

SIGNS = {"same": "[green]✓[/]", "differs": "[red]✗[/]", "unchecked": "[yellow]?[/]"}


def verify(
    what: Annotated[
        str, typer.Argument(metavar="RELEASE|PATH", help="A release's id, or a Bento's folder.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Compute every hash of a release again, from the rows to the Bento.

    The first thing that differs is named, and the exit code is 1.  What is not here to be
    compared is said, and does no harm.
    """
    from bridgerec.registry.verify import verify as check

    done = check(Workspace.open(directory), what)
    bad = next((c for c in done if c.state == "differs"), None)
    if json:
        typer.echo(json_module.dumps([asdict(c) for c in done], indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        for c in done:
            console.print(SIGNS[c.state], end=" ")
            console.print(f"{c.what}: {c.detail}" if c.detail else c.what, markup=False)
    if bad is not None:
        raise BridgeRecError(f"{bad.what} differs: {bad.detail}")
    if not json:
        left = sum(c.state == "unchecked" for c in done)
        typer.echo(f"nothing differs; {left} could not be checked" if left else "nothing differs")
