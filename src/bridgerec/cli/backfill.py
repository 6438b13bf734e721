"""`bridgerec backfill`: recommendations for everybody, to Parquet."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace


def backfill(
    target: Annotated[
        list[str] | None,
        typer.Option(help="A domain to recommend from; repeat.", show_default="params.yaml's"),
    ] = None,
    k: Annotated[int, typer.Option(min=1, help="How many items for each person.")] = 10,
    users: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ids, one a line.", show_default="everybody"),
    ] = None,
    chunk: Annotated[int, typer.Option(min=1, help="How many people share a file.")] = 1000,
    release: Annotated[
        str | None, typer.Option(help="A kept release.", show_default="the live one")
    ] = None,
    packaged: Annotated[
        bool, typer.Option("--packaged", help="What is in artifacts/bento, released or not.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Write everybody's recommendations to artifacts/backfill, as the service would answer now.

    A run that was killed goes on where it stopped.
    """
    from bridgerec.operations.backfill import Wanted, read_users
    from bridgerec.operations.backfill import backfill as run
    from bridgerec.progress import reaching

    wanted = Wanted(
        users=None if users is None else read_users(users),
        targets=tuple(target or ()),
        k=k,
        release=release,
        packaged=packaged,
        chunk=chunk,
    )
    workspace = Workspace.open(directory)
    with reaching("backfill", "people") as progress:
        manifest = run(workspace, wanted, progress)
    if json:
        typer.echo(json_module.dumps(manifest, indent=2, sort_keys=True))
        return
    typer.echo(
        f"{manifest['rows']:,} recommendations for {manifest['people']:,} people by "
        f"{manifest['release']} are in {workspace.root / 'artifacts' / 'backfill'}"
    )
