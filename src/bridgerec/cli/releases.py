"""`bridgerec releases`: what was released, what is live, and changing that."""

import json as json_module
from typing import Annotated, Any

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace
from bridgerec.errors import ConfigError
from bridgerec.registry.store import Release, Store

releases = typer.Typer(help="Kept releases: list, compare, promote, roll back.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The release, or how its id begins.")]


@releases.callback(invoke_without_command=True)
def list_(
    context: typer.Context, json: Json = False, directory: Directory = HERE, debug: Debug = False
) -> None:
    """Without a command: every kept release, the newest first."""
    if context.invoked_subcommand is not None:
        if json or directory != HERE:
            raise ConfigError(f"write --json and -C after `{context.invoked_subcommand}`.")
        return
    rows = summaries(Store.of(Workspace.open(directory)))
    if json:
        _print_json(rows)
        return
    if not rows:
        typer.echo("No release is kept yet. Run the release flow: `python flows/release.py`.")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in ("", "release", "live since", "data", "candidate", "gate's metric", "verdict"):
        table.add_column(name, no_wrap=name in ("", "release", "live since"))
    for row in rows:
        sign = {(True, True): "● pinned", (True, False): "●"}.get((row["live"], row["pinned"]), "")
        since = (row["live_since"] or "never").removesuffix("+00:00")
        judged = "allowed" if row["allowed"] else "refused"
        judged += ", overridden" if row["overridden"] else ""
        value = f"{row['metric']} {row['value']:.4f}"
        table.add_row(sign, row["release"], since, row["data_hash"][:12], row["candidate"], value,
                      judged)  # fmt: skip
    Console().print(table)


def summaries(store: Store) -> list[dict[str, Any]]:
    """A row per kept release, the newest first."""
    from bridgerec.registry.current import read_current

    current = read_current(store)
    rows = []
    for release in reversed(store.all()):
        decision, dossier = release.read("decision"), release.dossier
        rows.append(
            {
                "release": release.id,
                "kept": release.read("record")["kept"],
                "live": current.release == release.id,
                "pinned": current.pinned and current.release == release.id,
                "live_since": current.live_since(release.id),
                "data_hash": dossier["data_hash"],
                "candidate": decision["winner"],
                "metric": decision["metric"],
                "value": decision["candidates"]["warm"][decision["winner"]]["value"],
                "allowed": release.verdict["allowed"],
                "overridden": bool(dossier["overrides"]),
            }
        )
    return rows


@releases.command()
def show(
    release: Id, json: Json = False, directory: Directory = HERE, debug: Debug = False
) -> None:
    """Routes, reasons, test results and what people overrode."""
    from bridgerec.cli.release_tables import show_release

    found = Store.of(Workspace.open(directory)).find(release)
    if json:
        names = ("record", "verdict", "decision", "dossier")
        _print_json({name: found.read(name) for name in names})
    else:
        show_release(found)


@releases.command()
def compare(
    one: Id, other: Id, json: Json = False, directory: Directory = HERE, debug: Debug = False
) -> None:
    """Two releases side by side: results with intervals, parameters, data, routes."""
    from bridgerec.cli.release_tables import show_comparison
    from bridgerec.registry.compare import compare as found

    store = Store.of(Workspace.open(directory))
    difference = found(store.find(one), store.find(other))
    if json:
        _print_json(difference)
    else:
        show_comparison(difference)


@releases.command()
def promote(
    release: Id,
    override: Annotated[
        str | None,
        typer.Option(help="Release it although the gate refused; the reason is recorded."),
    ] = None,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Make a kept release live; a running service goes over to it."""
    from bridgerec.registry.current import promote as move

    workspace = Workspace.open(directory)
    store = Store.of(workspace)
    found = store.find(release)
    move(store, found, override or "", override is not None)
    _live(workspace, found)


@releases.command()
def pin(release: Id, directory: Directory = HERE, debug: Debug = False) -> None:
    """Make a release live and keep it so: the release flow promotes no other one."""
    from bridgerec.registry.current import pin as move

    workspace = Workspace.open(directory)
    store = Store.of(workspace)
    found = store.find(release)
    move(store, found)
    _live(workspace, found)


@releases.command()
def unpin(directory: Directory = HERE, debug: Debug = False) -> None:
    """Let the release flow promote again."""
    from bridgerec.registry.current import unpin as lift

    current = lift(Store.of(Workspace.open(directory)))
    typer.echo(f"{current.release or 'nothing'} is live and not pinned")


@releases.command()
def rollback(
    release: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Where to.", show_default="what was live before"),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "",
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Go back to an earlier release; a running service goes over to it."""
    from bridgerec.registry.current import rollback as move

    workspace = Workspace.open(directory)
    store = Store.of(workspace)
    current = move(store, store.find(release) if release else None, reason)
    _live(workspace, store.find(str(current.release)))


def _live(workspace: Workspace, release: Release) -> None:
    from bridgerec.serving.switch import control_file, follow

    follow(control_file(workspace), release.bento)
    typer.echo(f"{release.id} is live; a running `bridgerec serve` is going over to it")


def _print_json(value: Any) -> None:
    typer.echo(json_module.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))
