"""`bridgerec evaluation`: the results, as a table or as JSON."""

from typing import Annotated, Any

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError


def leaderboard(metrics: dict[str, Any], split: str, target: str, k: int = 10) -> Any:
    """A rich table of the test results of one split and target, best NDCG@k first."""
    from rich.table import Table

    names = [f"{name}@{k}" for name in ("ndcg", "recall", "precision", "f1", "hr")]
    table = Table(title=f"{split} → {target} (test, full ranking)", title_justify="left")
    table.add_column("candidate")
    for name in names:
        table.add_column(name, justify="right")
    rows = {
        candidate: targets[target]["all"]
        for candidate, targets in metrics["test"][split].items()
        if "all" in targets.get(target, {})
    }
    for candidate, found in sorted(rows.items(), key=lambda r: -r[1][names[0]]["value"]):
        cells = []
        for i, name in enumerate(names):
            cell = found.get(name)
            if cell is None:
                cells.append("–")
            else:
                cells.append(_interval(cell) if i == 0 else f"{cell['value']:.4f}")
        table.add_row(candidate, *cells)
    return table


def languages_table(metrics: dict[str, Any], split: str, target: str, k: int = 10) -> Any:
    """A rich table of NDCG@k by the language of items (or the script of their titles), on the same
    part; None where the target has one alone."""
    from rich.table import Table

    from bridgerec.evaluation.segments import by_language

    rows = {
        candidate: by_language(targets.get(target, {}), f"ndcg@{k}")
        for candidate, targets in metrics["test"][split].items()
    }
    names = sorted({name for cells in rows.values() for name in cells})
    if not names:
        return None
    table = Table(title=f"ndcg@{k} by language", title_justify="left")
    table.add_column("candidate")
    for name in names:
        table.add_column(name, justify="right")
    for candidate, cells in rows.items():
        told = [cells.get(name) for name in names]
        table.add_row(candidate, *("–" if c is None else _interval(c) for c in told))
    return table


def _interval(cell: dict[str, float]) -> str:
    return f"{cell['value']:.4f} [dim]{cell['low']:.4f}–{cell['high']:.4f}[/]"


def show(workspace: Workspace) -> None:
    """Print the leaderboards and the decision."""
    from rich.console import Console

    from bridgerec.runtime import read_json

    console = Console()
    metrics = read_metrics(workspace)
    ks = metrics["info"]["ks"]
    k = 10 if 10 in ks else max(ks)
    for split, candidates in metrics["test"].items():
        for target in sorted({t for targets in candidates.values() for t in targets}):
            console.print(leaderboard(metrics, split, target, k))
            if (table := languages_table(metrics, split, target, k)) is not None:
                console.print(table)
    decision = workspace.reports / "decision.json"
    if decision.is_file():
        found = read_json(decision)
        console.print(f"\n[bold]Decision:[/] {found['winner'] or 'refused'}")
        for route in ("warm", "cold_start", "unknown"):
            if route in found["routes"]:
                name = found["routes"][route]
                console.print(f"  {route.replace('_', '-')} people: [bold]{name}[/]")
        for reason in found.get("reasons", []):
            console.print(f"  · {reason}", markup=False)
    console.print(f"\nThe page to look at: {workspace.reports / 'evaluation' / 'index.html'}")


def read_metrics(workspace: Workspace) -> dict[str, Any]:
    """`reports/evaluation/metrics.json`; ArtifactError when it is not there."""
    from bridgerec.runtime import read_json

    path = workspace.reports / "evaluation" / "metrics.json"
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist yet. Run `bridgerec run evaluate`.")
    found: dict[str, Any] = read_json(path)
    return found


def evaluation(
    json: Annotated[bool, typer.Option("--json", help="Print metrics.json.")] = False,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Show how the candidates did, and which one was chosen and why."""
    workspace = Workspace.open(directory)
    if json:
        read_metrics(workspace)
        typer.echo((workspace.reports / "evaluation" / "metrics.json").read_text(), nl=False)
    else:
        show(workspace)
