"""A running service goes over to another release without dropping a request.

The control file of the second release names it for everybody: workers load it beside the one they
serve, ask it as soon as it is warm, and fall back on the old one where it fails.  A restart then
begins with it.
"""

import os
from pathlib import Path

from bridgerec.config import Workspace
from bridgerec.errors import ConfigError
from bridgerec.serving.canary import CANARY
from bridgerec.serving.canary.plan import Plan, read_plan, write_plan

SALT = "live release"  # marks such a plan, in place of the random salt of a trial


def control_file(workspace: Workspace) -> Path:
    """The control file that `bridgerec serve` gives the service."""
    named = os.environ.get(CANARY)
    return Path(named) if named else workspace.canary


def follow(control: Path, bento: Path) -> None:
    """Tell a running service to answer everybody from `bento` (a trial that runs there ends)."""
    write_plan(control, Plan(bento=str(bento.resolve()), weight=1.0, salt=SALT))


def settle(control: Path, bento: Path) -> None:
    """Before a service starts with `bento`: drop a plan to go over from an earlier start, and one
    that names just that Bento."""
    if not control.exists():
        return
    try:
        plan = read_plan(control)
    except ConfigError:
        return  # the service says what is wrong with it
    if plan.salt == SALT or plan.bento == str(bento.resolve()):
        control.unlink(missing_ok=True)
