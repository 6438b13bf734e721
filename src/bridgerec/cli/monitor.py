"""`bridgerec monitor`: the traffic log against the training data."""

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace


def monitor(directory: Directory = HERE, debug: Debug = False) -> None:
    """Compare traffic, clicks and tables with the training data; write reports/monitoring."""
    from bridgerec.monitoring.report import monitor as compare

    workspace = Workspace.open(directory)
    out = workspace.reports / "monitoring"
    summary = compare(workspace, out)
    typer.echo((out / "summary.md").read_text())
    typer.echo(f"The page to look at: {out / 'evidently.html'}")
    if summary["webhook"]:
        typer.echo(summary["webhook"]["words"], err=not summary["webhook"]["delivered"])
