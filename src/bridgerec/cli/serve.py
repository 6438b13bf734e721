"""`bridgerec serve`: the live release, or the packaged Bento, over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from bridgerec.cli.keys import keys_file
from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace


def chosen_bento(workspace: Workspace, release: str | None, packaged: bool) -> tuple[Path, str]:
    """The Bento to serve, and what to call it: the release that is named, else the live one, else
    what is packaged.

    Raises:
        ConfigError: there is no such release, or both options are given.
        ArtifactError: the live release is gone.
    """
    from bridgerec.errors import ConfigError
    from bridgerec.registry.current import live
    from bridgerec.registry.store import Store

    if packaged and release is not None:
        raise ConfigError("--packaged and --release exclude each other.")
    store = Store.of(workspace)
    if release is not None:
        found = store.find(release)
        return found.bento, f"release {found.id}"
    current = None if packaged else live(store)
    if current is None:
        return workspace.bento, "the packaged winner"
    return current.bento, f"release {current.id}, which is live"


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
    from bridgerec.serving.switch import control_file, settle

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
