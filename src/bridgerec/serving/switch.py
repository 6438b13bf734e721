"""A running service goes over to another release without dropping a request.

A file beside that of the second release names it for everybody: workers load it beside the one they
serve, let everything go to it as soon as it is warm, and fall back on the old one where it fails.
A restart then begins with it.
"""

import os
from pathlib import Path

from bridgerec.config import Workspace
from bridgerec.errors import ConfigError
from bridgerec.registry.current import live
from bridgerec.registry.store import Store
from bridgerec.serving.canary import CANARY
from bridgerec.serving.canary.plan import MOVE, Plan, held, move_file, read_plan, write_plan


def control_file(workspace: Workspace) -> Path:
    """The control file that `bridgerec serve` gives the service."""
    named = os.environ.get(CANARY)
    return Path(named) if named else workspace.canary


def follow(control: Path, bento: Path) -> None:
    """Tell a running service to answer everybody from `bento` (a trial that runs there ends)."""
    plan = Plan(bento=str(bento.resolve()), release=held(bento), weight=1.0, salt=MOVE)
    write_plan(move_file(control), plan)
    control.unlink(missing_ok=True)


def chosen_bento(workspace: Workspace, release: str | None, packaged: bool) -> tuple[Path, str]:
    """The Bento to serve, and what to call it: the release that is named, else the live one, else
    what is packaged.

    Raises:
        ConfigError: there is no such release, or both options are given.
        ArtifactError: the live release is gone.
    """
    if packaged and release is not None:
        raise ConfigError("--packaged and --release exclude each other.")
    store = Store.of(workspace)
    if release is not None:
        found = store.find(release)
        return found.bento, f"release {found.id}"
    current = None if packaged else live(store)
    if current is None:
        return workspace.bento, "the packaged winner"
    return current.bento, f"release {current.id}, which is live"


def settle(control: Path, bento: Path) -> None:
    """Before a service starts with `bento`: drop a plan to go over from an earlier start, and the
    trial of just that Bento."""
    move_file(control).unlink(missing_ok=True)
    if not control.exists():
        return
    try:
        plan = read_plan(control)
    except ConfigError:
        return  # the service says what is wrong with it
    if plan.bento == str(bento.resolve()):
        control.unlink(missing_ok=True)
