"""`bridgerec simulate`: demo data with known truth."""

from typing import Annotated

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace


def simulate(
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 42,
    users: Annotated[int, typer.Option(min=50, help="How many people.")] = 3000,
    items: Annotated[int, typer.Option(min=50, help="Items per domain.")] = 2000,
    force: Annotated[
        bool, typer.Option("--force", help="Replace data/ and truth/ whatever they hold.")
    ] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Write demo data of three domains into data/, and the known truth into truth/.

    Files there that an earlier simulation did not write are kept: then --force is needed.
    """
    from bridgerec.data.simulate import simulate as write

    root = Workspace.open(directory).root
    write(root, seed, users, items, lambda text: typer.echo(f"  {text}"), force)
