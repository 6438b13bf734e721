"""A running service goes over to another release without dropping a request.

A file beside that of the second release names it for everybody: workers load it beside the one they
serve, let everything go to it as soon as it is warm, and fall back on the old one where it fails.
A restart then begins with it.
"""

import os
from pathlib import Path

from bridgerec.config import Workspace
from bridgerec.errors import ConfigError
from bridgerec.serving.canary import CANARY
from bridgerec.serving.canary.plan import MOVE, Plan, move_file, read_plan, write_plan


def control_file(workspace: Workspace) -> Path:
    """The control file that `bridgerec serve` gives the service."""
    named = os.environ.get(CANARY)
    return Path(named) if named else workspace.canary


def follow(control: Path, bento: Path) -> None:
    """Tell a running service to answer everybody from `bento` (a trial that runs there ends)."""
    write_plan(move_file(control), Plan(bento=str(bento.resolve()), weight=1.0, salt=MOVE))
    control.unlink(missing_ok=True)


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
