"""`bridgerec init`: a workspace from a user's own tables."""

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from bridgerec.cli.options import HERE, Debug
from bridgerec.config import Domain, Workspace, check_name, load_params
from bridgerec.data.images import copy_images
from bridgerec.data.readers import (
    collect,
    raw_interactions,
    raw_items,
    typed_interactions,
    typed_items,
)
from bridgerec.errors import ConfigError
from bridgerec.operations.deploy import write_flows
from bridgerec.runtime import atomic_file
from bridgerec.validation.derive import mistyped
from bridgerec.validation.finding import Finding

TEMPLATES = "bridgerec.templates"
COPIED = ("dvc.yaml", "bentofile.yaml", "prefect.yaml")
OWN = ("params.yaml", *COPIED, "flows", "expectations", "data.dvc")
IGNORED = (
    *("/data", "/artifacts/", "/reports/", "/traffic/", "/releases/", "/state/"),
    *("/keys.json", "/canary.json", "/canary.live.json", "/.bridgerec/", "/.prefect/"),
)
RECENT = ("popularity_2d", "popularity_5d", "popularity_30d")
LATER = ("sequence", "sequential_rules", "ials", "ptupcdr", "profile")  # not for a first look
Tables = tuple[Path, Path]  # interactions, items


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="The new workspace.")],
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
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A first look: one or two candidates of each family, none that trains for many "
            "minutes. Others can be added to params.yaml later; what is computed already stays.",
        ),
    ] = False,
    directory: Annotated[
        Path,
        typer.Option(
            "-C",
            "--directory",
            help="Where DIRECTORY and the tables' paths start, unless they are absolute.",
            show_default="current folder",
        ),
    ] = HERE,
    debug: Debug = False,
) -> None:
    """Make a workspace: copies the tables; writes params.yaml, dvc.yaml, expectations/, flows/.

    Nothing that exists is overwritten, and nothing is left behind when it fails.
    """
    base = directory.resolve()
    domains: dict[str, Tables] = {}
    for text in domain:
        name, tables = _parse(text, base)
        if name in domains:
            raise ConfigError(f"--domain {name}= is given twice; give every domain its own name.")
        domains[name] = tables
    root = (base / folder).resolve()
    for finding in create(root, domains, tuple(target or ()), quick):
        column = finding.check.removeprefix("mistyped_")
        some = ", ".join(repr(row[column]) for row in finding.examples)
        typer.echo(f"warning: {finding.line}. For example {some}.")
    typer.echo(f"Workspace {root} is ready. Next:\n  bridgerec run -C {directory / folder}")


def _parse(text: str, base: Path) -> tuple[str, Tables]:
    name, _, tables = text.partition("=")
    paths = tables.split(",")
    if len(paths) != 2 or not all(paths):
        raise ConfigError(f"--domain {text!r}: write NAME=INTERACTIONS,ITEMS (two tables).")
    return name, (base / paths[0], base / paths[1])


def create(
    root: Path, domains: dict[str, Tables], targets: tuple[str, ...], quick: bool = False
) -> list[Finding]:
    """Write the workspace; nothing that exists is overwritten, and a failure leaves nothing.

    `quick` leaves out what a first look does not need.  Returns what does not fit its type.

    Raises:
        ConfigError: a file of the workspace exists already, a name cannot be a domain's, or a
            target is no domain.
        DataError: a table cannot be read or lacks a required column.
    """
    for name in domains:
        try:
            check_name(name)
        except ValueError as error:
            raise ConfigError(f"--domain {name}=…: {error}.") from error
    unknown = [t for t in targets if t not in domains]
    if unknown:
        raise ConfigError(f"--target {unknown}: not among the domains {list(domains)}.")
    with _only_new(root, (*OWN, *(f"data/{name}" for name in domains))):
        entries, found, timed = {}, [], True
        for name, tables in domains.items():
            has_times, odd = _copy_tables(root, name, tables)
            timed &= has_times
            found += odd
            entries[name] = {t: f"data/{name}/{t}.parquet" for t in ("interactions", "items")}
        template = files(TEMPLATES)
        for name in COPIED:
            (root / name).write_bytes((template / name).read_bytes())
        with as_file(template / "expectations") as folder:
            shutil.copytree(folder, root / "expectations")
        write_flows(root)
        _write_params(root / "params.yaml", entries, targets, timed, quick)
        load_params(root / "params.yaml")
        _ignore(root / ".gitignore")
        _version(root)
    return found


@contextmanager
def _only_new(root: Path, names: Iterable[str]) -> Iterator[None]:
    """Refuse when one of the names exists in `root`; after a failure, remove what was made."""
    taken = [name for name in names if (root / name).exists()]
    if taken:
        raise ConfigError(
            f"{root} holds {', '.join(taken)}, and nothing is overwritten: "
            f"{root / taken[0]} exists already. Choose another folder, or move them away."
        )
    made = [root / name for name in (*names, "data", ".gitignore", ".dvc", ".dvcignore")]
    made = [p for p in (*made, root, *root.parents) if not p.exists()]
    ignored = (root / ".gitignore").read_bytes() if (root / ".gitignore").exists() else None
    root.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in made:  # the folders around `root` come last and are empty by then
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if ignored is not None:
            (root / ".gitignore").write_bytes(ignored)
        raise


def _copy_tables(root: Path, name: str, tables: Tables) -> tuple[bool, list[Finding]]:
    """Write both tables as Parquet under data/NAME, and the images; is there a column `timestamp`,
    and what does not fit its type?"""
    domain = Domain(interactions=str(tables[0]), items=str(tables[1]))
    source, folder = Workspace(root), root / "data" / name
    rows = collect(raw_interactions(source, name, domain), tables[0])
    typed = collect(typed_interactions(rows.lazy(), domain, tables[0]), tables[0])
    found = _write(folder / "interactions.parquet", name, rows, typed)
    catalogue = collect(raw_items(source, name, domain), tables[1])
    items = collect(typed_items(catalogue.lazy()), tables[1])
    found += _write(folder / "items.parquet", name, catalogue, items)
    copy_images(items.select(pl.col("image").fill_null("")), tables[1].parent, folder)
    return "timestamp" in rows.columns, found


def _write(path: Path, name: str, raw: pl.DataFrame, typed: pl.DataFrame) -> list[Finding]:
    """A column with values that do not fit its type is copied as it is, for `validate` to name."""
    found = mistyped(name, raw, typed, 3)
    with atomic_file(path) as temporary:
        typed.with_columns(raw[column] for column in found).write_parquet(temporary)
    return list(found.values())


def _ignore(path: Path) -> None:
    """Add what git must not track to .gitignore, after what is there."""
    present = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [line for line in IGNORED if line not in present.splitlines()]
    gap = "\n" if present and not present.endswith("\n") else ""
    path.write_text(present + gap + "".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_params(
    path: Path,
    entries: dict[str, dict[str, str]],
    targets: tuple[str, ...],
    timed: bool,
    quick: bool,
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
    for name in (*(() if timed else RECENT), *(LATER if quick else ())):
        params["candidates"].remove(name)
        if name in params["blend"]["members"]:
            params["blend"]["members"].remove(name)
        if name in RECENT:
            del params["models"][name]  # the others stay, to be added again
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
