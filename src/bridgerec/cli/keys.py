"""`bridgerec keys`: who may ask the service."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace
from bridgerec.errors import ConfigError

keys = typer.Typer(help="API keys of the service.", no_args_is_help=True)


def keys_file(workspace: Workspace, wanted: bool) -> Path | None:
    """The file of keys: BRIDGEREC_KEYS, else `service.keys`; None if that one does not exist and
    is not `wanted` (one that the environment names is never taken for absent)."""
    named = os.environ.get("BRIDGEREC_KEYS")
    if named:
        return Path(named)
    path = workspace.root / workspace.params.service.keys
    return path if wanted or path.exists() else None


def _file(directory: Path) -> Path:
    path = keys_file(Workspace.open(directory), wanted=True)
    assert path is not None
    return path


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is; shown in the service's log.")],
    role: Annotated[
        list[str] | None,
        typer.Option(help="reader, writer or admin; repeat for several.", show_default="reader"),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Requests per second, if not the service's default.")
    ] = None,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Make a key and show it, this once."""
    from bridgerec.serving.keys import ROLES, add_key

    roles = tuple(role or ["reader"])
    unknown = sorted(set(roles) - set(ROLES))
    if unknown:
        raise ConfigError(f"--role {unknown[0]}: the roles are {', '.join(ROLES)}.")
    if rate is not None and rate <= 0:
        raise ConfigError(f"--rate {rate:g}: a rate is more than 0 requests per second.")
    path = _file(directory)
    first = not path.exists()
    key = add_key(path, name, roles, rate)
    typer.echo(key)
    typer.echo("Keep it: only its hash is stored, so it cannot be shown again.", err=True)
    if first:
        typer.echo(
            "A service that runs without keys has to be restarted to ask for them.", err=True
        )


@keys.command("list")
def list_(directory: Directory = HERE, debug: Debug = False) -> None:
    """Names, roles and rates; never the keys themselves."""
    from rich.console import Console
    from rich.table import Table

    from bridgerec.serving.keys import list_keys

    table = Table("name", "id", "roles", "per second", "made")
    for row in list_keys(_file(directory)):
        rate = "default" if row["rate"] is None else f"{row['rate']:g}"
        table.add_row(row["name"], row["id"], ", ".join(row["roles"]), rate, row["created"])
    Console().print(table)


@keys.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name or id.")],
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Make a key invalid, at once and in running services too."""
    from bridgerec.serving.keys import revoke_key

    revoke_key(_file(directory), name)
    typer.echo(f"{name} is revoked")
