"""`bridgerec serve`: the packaged Bento over HTTP."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bridgerec.cli.keys import keys_file
from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 3000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer.")] = 1,
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Let other machines ask without an API key.")
    ] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Serve the packaged winner; stop with Ctrl-C."""
    from bridgerec.serving.launch import Settings
    from bridgerec.serving.launch import serve as launch

    workspace = Workspace.open(directory)
    log = workspace.traffic if workspace.params.service.traffic_log else None
    state = workspace.params.service.state or str(workspace.state)
    if "://" not in state:
        state = str(workspace.table(state))
    keys = keys_file(workspace, wanted=False)
    if keys is None:
        who = "everybody" if open_to_all else "this machine alone"
        typer.echo(f"no API keys: the service answers {who}", err=True)
    control = os.environ.get("BRIDGEREC_CANARY")
    told = Settings(
        workers=workers,
        traffic=log,
        state=os.environ.get("BRIDGEREC_STATE", state),
        keys=keys,
        open_to_all=open_to_all,
        canary=Path(control) if control else workspace.root / "canary.json",
    )
    raise typer.Exit(launch(workspace.bento, port=port, host=host, told=told))
