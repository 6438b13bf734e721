"""`bridgerec serve`: the packaged Bento over HTTP."""

import os
from typing import Annotated

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 3000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer.")] = 1,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Serve the packaged winner; stop with Ctrl-C."""
    from bridgerec.serving.launch import serve as launch

    workspace = Workspace.open(directory)
    log = workspace.traffic if workspace.params.service.traffic_log else None
    state = workspace.params.service.state or str(workspace.state)
    if "://" not in state:
        state = str(workspace.table(state))
    raise typer.Exit(
        launch(
            workspace.bento,
            port=port,
            host=host,
            workers=workers,
            traffic=log,
            state=os.environ.get("BRIDGEREC_STATE", state),
        )
    )
