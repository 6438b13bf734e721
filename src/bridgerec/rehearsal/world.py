"""The folder of a rehearsal: a trained first year, and the workspace that lives on from it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import as_file, files
from pathlib import Path

import polars as pl

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.operations.deploy import write_flows
from bridgerec.operations.state import alone
from bridgerec.pipeline import command
from bridgerec.rehearsal.plan import Plan
from bridgerec.runtime import BrokenFile, atomic_file, read_json, write_json

TEMPLATES = "bridgerec.templates"
MARK = "rehearsal.json"
FIRST, LIVING = "first", "workspace"
Say = Callable[[str], None]


@contextmanager
def claimed(folder: Path, plan: Plan) -> Iterator[None]:
    """The folder is one rehearsal's own while the block runs; what a rehearsal of another plan left
    there goes.

    Raises:
        ConfigError: the folder holds something else, or another rehearsal plays there.
    """
    mark = folder / MARK
    if folder.exists() and any(folder.iterdir()) and not mark.is_file():
        raise ConfigError(
            f"{folder} is not empty and no rehearsal made it. Name a new folder: "
            "`bridgerec rehearse DIR`."
        )
    wanted = plan.model_dump(mode="json")
    if not mark.is_file():
        write_json(mark, wanted)
    words = f"another rehearsal plays in {folder}. Wait for it, or name another folder."
    with alone(Workspace(folder), "rehearsal", ConfigError(words)):
        before = None
        with suppress(BrokenFile):
            before = read_json(mark)
        if before != wanted:
            shutil.rmtree(folder / FIRST, ignore_errors=True)
            write_json(mark, wanted)
        yield


def make_first(folder: Path, plan: Plan, say: Say) -> Workspace:
    """The first year, simulated and trained by `dvc repro` up to the gate's decision; one that is
    there is taken.

    Raises:
        BridgeRecError: the pipeline stopped; with the end of what it said.
    """
    from bridgerec.data.simulate import simulate

    root = folder / FIRST
    if not (root / "data.dvc").is_file():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        simulate(root, plan.seed, plan.people, plan.items)
        _write_settings(root, plan)
        dvc(root, "init", "-q", "--no-scm")
        dvc(root, "config", "core.analytics", "false")
        dvc(root, "add", "-q", "data")
    dvc(root, "repro", "select", say=say)
    return Workspace.open(root)


def _write_settings(root: Path, plan: Plan) -> None:
    import yaml

    template = files(TEMPLATES)
    for name in ("dvc.yaml", "bentofile.yaml", "prefect.yaml"):
        (root / name).write_bytes((template / name).read_bytes())
    write_flows(root)
    with as_file(template / "expectations") as found:
        shutil.copytree(found, root / "expectations")
    params = plan.changed(yaml.safe_load((template / "params.yaml").read_text(encoding="utf-8")))
    with atomic_file(root / "params.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def branch(source: Path, to: Path) -> Workspace:
    """A copy of a workspace as it stands, without what runs or was released there; in place of an
    older one.

    DVC's cache is copied too: a shared one has the results of an earlier rehearsal, so that the
    retraining would compute nothing.
    """
    shutil.rmtree(to, ignore_errors=True)
    left = {source: {".bridgerec", ".prefect", "traffic", "state"}, source / ".dvc": {"tmp"}}

    def ignored(folder: str, _: list[str]) -> set[str]:
        return left.get(Path(folder), set())

    shutil.copytree(source, to, ignore=ignored, symlinks=True)
    return Workspace.open(to)


def tables(living: Workspace) -> dict[str, pl.DataFrame]:
    """Who met what in every domain, `user_id` and `item_id`."""
    from bridgerec.data.readers import collect, read_interactions

    found = {}
    for name, domain in living.params.data.domains.items():
        rows = read_interactions(living, name, domain, ("user_id", "item_id"))
        found[name] = collect(rows, living.table(domain.interactions))
    return found


def dvc(root: Path, *words: str, say: Say = lambda _: None) -> None:
    """Run DVC; every line of its output goes to `say`.

    Raises:
        BridgeRecError: it failed; with its last lines.
    """
    code, last = command.dvc(root, *words, say=say)
    if code:
        raise BridgeRecError(f"`dvc {' '.join(words)}` failed in {root}:\n{last}")
