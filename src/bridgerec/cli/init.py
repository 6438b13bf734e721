"""`bridgerec init`: a workspace from a user's own tables."""

import shutil
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from bridgerec.cli.options import Debug
from bridgerec.config import Domain, Workspace, load_params
from bridgerec.data.readers import read_interactions, read_items
from bridgerec.errors import ConfigError
from bridgerec.runtime import atomic_file

TEMPLATES = "bridgerec.templates"


def init(
    directory: Annotated[Path, typer.Argument(help="The new workspace.")],
    domain: Annotated[
        list[str],
        typer.Option(
            "--domain",
            help="NAME=INTERACTIONS,ITEMS: two tables (csv, jsonl, parquet) with the standard "
            "column names. Repeat for every domain; a column `domain` selects rows.",
        ),
    ],
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Recommend in this domain (default: all).")
    ] = None,
    debug: Debug = False,
) -> None:
    """Make a workspace: copies the tables, writes params.yaml, dvc.yaml and expectations/."""
    create(directory.resolve(), dict(_parse(d) for d in domain), tuple(target or ()))
    typer.echo(f"Workspace {directory} is ready. Next:\n  bridgerec run -C {directory}")


def _parse(text: str) -> tuple[str, tuple[Path, Path]]:
    name, _, tables = text.partition("=")
    paths = tables.split(",")
    if not name.isidentifier() or len(paths) != 2:
        raise ConfigError(f"--domain {text!r}: write NAME=INTERACTIONS,ITEMS (two tables).")
    return name, (Path(paths[0]).resolve(), Path(paths[1]).resolve())


def create(root: Path, domains: dict[str, tuple[Path, Path]], targets: tuple[str, ...]) -> None:
    """Write the workspace; nothing that exists is overwritten.

    Raises:
        ConfigError: the folder already is a workspace, or a target is no domain.
        DataError: a table cannot be read or lacks a required column.
    """
    if (root / "params.yaml").exists():
        raise ConfigError(f"{root / 'params.yaml'} exists already; choose another folder.")
    unknown = [t for t in targets if t not in domains]
    if unknown:
        raise ConfigError(f"--target {unknown}: not among the domains {list(domains)}.")
    source, timed, entries = Workspace(root), True, {}
    for name, (interactions, items) in domains.items():
        tables = Domain(interactions=str(interactions), items=str(items))
        rows = read_interactions(source, name, tables)
        timed &= "timestamp" in rows.collect_schema().names()
        folder = root / "data" / name
        with atomic_file(folder / "interactions.parquet") as path:
            rows.collect().write_parquet(path)
        with atomic_file(folder / "items.parquet") as path:
            read_items(source, name, tables).write_parquet(path)
        entries[name] = {t: f"data/{name}/{t}.parquet" for t in ("interactions", "items")}
    template = files(TEMPLATES)
    for name in ("dvc.yaml", "bentofile.yaml"):
        (root / name).write_bytes((template / name).read_bytes())
    (root / ".gitignore").write_text("/data\n/artifacts/\n/reports/\n/traffic/\n")
    with as_file(template / "expectations") as folder:
        shutil.copytree(folder, root / "expectations", dirs_exist_ok=True)
    _write_params(root / "params.yaml", entries, targets, timed)
    load_params(root / "params.yaml")
    _version(root)


def _write_params(
    path: Path, entries: dict[str, dict[str, str]], targets: tuple[str, ...], timed: bool
) -> None:
    import io

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 100
    params = yaml.load((files(TEMPLATES) / "params.yaml").read_text())
    params["data"]["domains"] = entries
    params["targets"] = list(targets)
    if not timed:  # an order but no time: no cut time, and nothing is recent
        params["split"]["protocols"] = ["leave_last", "cold_start"]
        params["gate"]["protocol"] = "leave_last"
        params["candidates"].remove("popularity_recent")
    buffer = io.StringIO()
    yaml.dump(params, buffer)
    with atomic_file(path) as temporary:
        temporary.write_text(buffer.getvalue())


def _version(root: Path) -> None:
    """`dvc init` (inside or outside git) and `dvc add data`."""
    dvc = [sys.executable, "-m", "dvc"]
    if not (root / ".dvc").exists():
        inside = subprocess.run(
            ["git", "rev-parse", "--is-inside-work-tree"], cwd=root, capture_output=True
        )
        flag = "--subdir" if inside.returncode == 0 else "--no-scm"
        _call([*dvc, "init", "-q", flag], root)
        _call([*dvc, "config", "core.analytics", "false"], root)
    _call([*dvc, "add", "-q", "data"], root)


def _call(command: list[str], root: Path) -> None:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f"`{' '.join(command[2:])}` failed in {root}: {done.stderr.strip()}")
