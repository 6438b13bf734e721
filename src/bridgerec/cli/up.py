"""`bridgerec up`: everything that a team lives with."""

from threading import Event
from typing import Annotated

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace

Port = typer.Option(min=0, max=65535, help="0: any free port.")


def up(
    prefect_port: Annotated[int, Port] = 4200,
    service_port: Annotated[int, Port] = 3000,
    evidently_port: Annotated[int, Port] = 8000,
    reports_port: Annotated[int, Port] = 8010,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Any free port for every part.")
    ] = False,
    stay: Annotated[
        bool,
        typer.Option("--stay", help="Stay, and start again what is gone; Ctrl-C ends the staying."),
    ] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Start Prefect with its worker and deployments, the service, Evidently, the reports.

    What runs already stays.  `bridgerec down` stops just what this started.
    """
    from rich.console import Console
    from rich.table import Table

    from bridgerec.operations.control import up as start
    from bridgerec.operations.keep import keep
    from bridgerec.operations.parts import TITLES

    ports = {"prefect": prefect_port, "service": service_port, "evidently": evidently_port}
    ports |= {"reports": reports_port}
    if free_ports:
        ports = dict.fromkeys(ports, 0)
    workspace = Workspace.open(directory)
    state = start(workspace, ports, typer.echo)
    table = Table(show_header=False, box=None)
    for name, part in state.parts.items():
        if part.url:
            table.add_row(TITLES[name], part.url)
    Console(soft_wrap=True).print("", table)
    if stay:
        keep(workspace, Event(), typer.echo)
