"""`bridgerec tune`: better options for candidates, as a diff of params.yaml."""

from typing import Annotated, Any

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace
from bridgerec.errors import ConfigError


def tune(
    candidates: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CANDIDATE]...",
            help="Default: every one that has options to search.",
            show_default=False,
        ),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the result to params.yaml.")
    ] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Search for better options on the validation part; shows the change of params.yaml as a diff.

    Every candidate gets the same budget, `tune.trials` or `tune.seconds`.  A search that was
    stopped goes on with the same command, and one that has ended is not repeated.
    """
    from rich.console import Console

    from bridgerec.tuning.params_file import difference, edited, read_text, write_text
    from bridgerec.tuning.search import Result
    from bridgerec.tuning.space import space_of, tunable

    workspace, console = Workspace.open(directory), Console()
    params, path = workspace.params, workspace.root / "params.yaml"
    names = candidates or list(tunable(params))
    for name in names:  # what is wrong is told before the first hour
        space_of(params, name)
    results: list[Result] = search_all(workspace, names, console)
    console.print(table(results, params.tune.metric))
    changes = {r.candidate: r.changes for r in results if r.better}
    for result in results:
        if result.changes and not result.better:
            console.print(
                f"{result.candidate}: what the search found is not better for people whom it did "
                "not see; its options stay."
            )
    if not changes:
        console.print("params.yaml stays as it is.")
        return
    now = workspace.params
    changed = [name for name in changes if now.models[name] != params.models[name]]
    if changed:
        raise ConfigError(f"params.yaml: {changed} changed during the search; run it again.")
    old = read_text(path)
    new = edited(old, changes)
    console.print(difference(old, new), markup=False, highlight=False, soft_wrap=True)
    if apply:
        write_text(path, new)
        console.print(f"{path} is written. `bridgerec run` trains with it.")
    else:
        console.print(f"Nothing is changed yet. To apply: bridgerec tune {' '.join(names)} --apply")


def search_all(workspace: Workspace, names: list[str], console: Any) -> Any:
    """Run the searches one after the other behind a progress bar."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from bridgerec.tuning.search import Search, State

    columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[note]}"))
    results = []
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        for name in names:
            task = progress.add_task(name, total=1.0, note="")

            def tell(state: State, task: Any = task) -> None:
                best = "" if state.value is None else f", best {state.value:.4f}"
                note = f"{state.trials} trials ({state.given_up} given up){best}"
                progress.update(task, completed=min(state.share, 1.0), note=note)

            results.append(Search(workspace, name).run(tell))
    return results


def table(results: Any, metric: str) -> Any:
    """Current and best options, by the people of the search and by the others."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{metric} on validation, current → best"
    found = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    found.add_column("candidate", overflow="fold")
    for column in ("searched by", "other people", "gain for these"):
        found.add_column(column, justify="right", no_wrap=True)
    for r in results:
        held, gain = "–", "–"
        if r.gain is not None:
            held = f"{r.held_back[0]:.4f} → {r.held_back[1]:.4f}"
            gain = f"{r.gain.mean:+.4f} [dim]({r.gain.low:+.4f}, {r.gain.high:+.4f})[/]"
        found.add_row(r.candidate, f"{r.searched[0]:.4f} → {r.searched[1]:.4f}", held, gain)
    return found
