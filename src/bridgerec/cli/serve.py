"""`bridgerec serve`: the live release, or the packaged Bento, over HTTP."""

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
    release: Annotated[
        str | None, typer.Option(help="A kept release.", show_default="the live one")
    ] = None,
    packaged: Annotated[
        bool, typer.Option("--packaged", help="What is in artifacts/bento, released or not.")
    ] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Serve the live release (without one: the packaged winner); stop with Ctrl-C."""
    from bridgerec.serving.launch import Settings
    from bridgerec.serving.launch import serve as launch
    from bridgerec.serving.state import state_place
    from bridgerec.serving.switch import chosen_bento, control_file, settle

    workspace = Workspace.open(directory)
    bento, what = chosen_bento(workspace, release, packaged)
    typer.echo(f"serving {what}", err=True)
    log = workspace.traffic if workspace.params.service.traffic_log else None
    keys = keys_file(workspace, wanted=False)
    if keys is None:
        who = "everybody" if open_to_all else "this machine alone"
        typer.echo(f"no API keys: the service answers {who}", err=True)
    control = control_file(workspace)
    settle(control, bento)
    told = Settings(
        workers=workers,
        traffic=log,
        state=state_place(workspace),
        keys=keys,
        open_to_all=open_to_all,
        canary=control,
    )
    raise typer.Exit(launch(bento, port=port, host=host, told=told))
