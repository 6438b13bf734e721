"""`bridgerec status`: what runs, what is live, what monitoring said."""

import json as json_module
from typing import Annotated, Any

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace


def status(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Show what runs, which release is live, and what the last monitoring said."""
    from bridgerec.operations.control import status as look

    found = look(Workspace.open(directory))
    if json:
        typer.echo(json_module.dumps(found, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from bridgerec.operations.parts import TITLES

    console = Console(highlight=False, soft_wrap=True)
    if found["parts"]:
        table = Table()
        for name in ("", "state", "address", "process", "since"):
            table.add_column(name, no_wrap=name == "address")
        for row in found["parts"]:
            table.add_row(TITLES[row["part"]], row["state"], row["url"], str(row["pid"]),
                          row["started"].removesuffix("+00:00"))  # fmt: skip
        console.print(table)
    else:
        console.print("Nothing runs that `bridgerec up` started here.")
    release = found["release"]
    if "problem" in release:
        console.print(release["problem"], markup=False)
    elif release["live"] is None:
        console.print(f"Nothing is released; {release['kept']} kept.")
    else:
        pinned = ", pinned" if release["pinned"] else ""
        console.print(f"Release {release['live']} is live since {release['since']}{pinned}; "
                      f"{release['kept']} kept.")  # fmt: skip
        began = release["service_began_with"]
        if began is not None and began != release["live"]:
            console.print(f"The service began with {began} and goes on with the live one.")
    last = found["monitoring"]
    if last is None:
        console.print("Monitoring has not run yet (`bridgerec monitor`).")
    else:
        console.print(f"Monitoring, {last['when']}: {last['said']}", markup=False)
