"""`bridgerec demo`: data, pipeline, results and three people's recommendations."""

import subprocess
import sys
from typing import Any

import polars as pl
import typer

from bridgerec.cli.evaluation import show
from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.cli.run import repro
from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.errors import BridgeRecError, ConfigError


def demo(directory: Directory = HERE, debug: Debug = False) -> None:
    """Get the demo data, run the pipeline, show the results and some recommendations."""
    workspace = Workspace.open(directory)
    get_data(workspace)
    repro(workspace)
    show(workspace)
    recommendations(workspace)
    typer.echo("\nNext: `bridgerec serve`, `bridgerec evaluation`, `bridgerec recommend --help`")


def get_data(workspace: Workspace) -> None:
    """Pull data/ when a DVC remote is configured; else simulate it when there is none at all.

    Raises:
        ConfigError: a table is missing and cannot be simulated: the tables of params.yaml are
            not the demo's, or data/ holds files, which are never replaced.
        BridgeRecError: `dvc pull` failed.
    """
    missing = _missing(workspace)
    if not missing:
        return
    root, dvc = workspace.root, [sys.executable, "-m", "dvc"]
    remotes = subprocess.run([*dvc, "remote", "list"], cwd=root, capture_output=True, text=True)
    if (root / "data.dvc").is_file() and remotes.stdout.strip():
        typer.echo("Pulling data/ from the DVC remote …")
        if subprocess.run([*dvc, "pull", "data.dvc"], cwd=root).returncode:
            raise BridgeRecError(
                f"`dvc pull data.dvc` failed in {root}; DVC's message is above. Correct the "
                "remote (`dvc remote list`) or its credentials, or remove it to simulate the data."
            )
        if missing := _missing(workspace):
            raise ConfigError(f"{missing[0]} is not in what DVC pulled. Correct params.yaml.")
        return
    from bridgerec.data.simulate import DOMAINS, simulate

    own = {f"data/{d}/{t}.{end}" for d, end in DOMAINS.items() for t in ("interactions", "items")}
    data = root / "data"
    if set(_tables(workspace)) != own or (data.exists() and any(data.iterdir())):
        raise ConfigError(
            f"{missing[0]} does not exist in {root}. Put the table there or correct its path in "
            "params.yaml (data.domains). The demo simulates data only where there is no data/ "
            "and params.yaml names the demo's own tables."
        )
    typer.echo("Simulating demo data …")
    simulate(root, seed=42)


def _tables(workspace: Workspace) -> list[str]:
    domains = workspace.params.data.domains.values()
    return [table for domain in domains for table in (domain.interactions, domain.items)]


def _missing(workspace: Workspace) -> list[str]:
    return [table for table in _tables(workspace) if not workspace.table(table).is_file()]


def people(workspace: Workspace, target: str) -> dict[str, str]:
    """A warm person (history in the target) and a cold-start person (history elsewhere only)."""
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    block = catalogue.block(target)
    rows = pl.read_parquet(workspace.prepared / "interactions.parquet")
    inside = pl.col("item").is_between(block.start, block.stop - 1)
    counts = rows.group_by("user").agg(inside.sum().alias("target"), (~inside).sum().alias("other"))
    users = pl.read_parquet(workspace.prepared / "users.parquet")
    found = {}
    for name, wanted in {
        "warm": (pl.col("target") >= 5) & (pl.col("other") >= 5),
        "cold-start": (pl.col("target") == 0) & (pl.col("other") >= 5),
    }.items():
        user = counts.filter(wanted).sort("user")["user"]
        if len(user):
            found[name] = str(users["user_id"][int(user[0])])
    return found


def recommendations(workspace: Workspace) -> None:
    """Print what the packaged winner recommends to a warm, a cold-start and an unknown person."""
    from rich.console import Console

    from bridgerec.cli.recommend import answer, table

    console, target = Console(), workspace.params.target_domains[0]
    requests: dict[str, dict[str, Any]] = {
        f"a {kind} person, {user}": {"user_id": user}
        for kind, user in people(workspace, target).items()
    }
    requests["an unknown person"] = {"user_id": "nobody-has-met-this-person"}
    for title, request in requests.items():
        user = request["user_id"]
        for line in _past(workspace, user):
            console.print(line, markup=False, highlight=False)
        response = answer(workspace, {**request, "target": target, "k": 5})
        console.print(table(response, f"{target} for {title}"))


def _past(workspace: Workspace, user_id: str) -> list[str]:
    users = pl.read_parquet(workspace.prepared / "users.parquet").filter(
        pl.col("user_id") == user_id
    )
    if users.is_empty():
        return ["\nnothing is known of this person"]
    items = Catalogue.read(workspace.prepared / "items.parquet").items
    rows = pl.read_parquet(workspace.prepared / "interactions.parquet")
    own = rows.filter(pl.col("user") == int(users["user"][0]))["item"].to_list()[-4:]
    return ["", f"{user_id} lately:"] + [
        f"  {items['domain'][i]}: {items['title'][i]}" for i in own
    ]
