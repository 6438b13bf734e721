"""What runs: `.bridgerec/running.json`, replaced as a whole at every change."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError
from bridgerec.runtime import BrokenFile, read_json, write_json


class Running(BaseModel):
    """A started process.  `born` is its start in seconds as the system tells it: a number that
    was given to another process since is told apart by it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pid: int
    born: float
    port: int | None
    url: str
    log: str
    started: str

    @property
    def process(self) -> psutil.Process | None:
        """The process; None when it is gone."""
        try:
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.born) > 1 or found.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.Error:
            return None
        return found


class State(BaseModel):
    """`deployed` is the hash of the flows that the server knows."""

    model_config = ConfigDict(extra="forbid")

    parts: dict[str, Running] = {}
    deployed: str | None = None

    def alive(self, name: str) -> bool:
        """Whether a part was started and is still there."""
        return name in self.parts and self.parts[name].process is not None


def state_file(workspace: Workspace) -> Path:
    return workspace.operations / "running.json"


def read_state(workspace: Workspace) -> State:
    """The state; an empty one where there is no file.

    Raises:
        BridgeRecError: the file is damaged.
    """
    path = state_file(workspace)
    if not path.exists():
        return State()
    try:
        return State.model_validate(read_json(path))
    except (ValidationError, BrokenFile) as error:
        raise BridgeRecError(
            f"{path} is damaged, so it is not known what `bridgerec up` started. Look for its "
            "processes with `ps`, stop them, and delete the file."
        ) from error


def write_state(workspace: Workspace, state: State) -> None:
    write_json(state_file(workspace), state.model_dump(mode="json"))


@contextmanager
def alone(workspace: Workspace, name: str, busy: BridgeRecError) -> Iterator[None]:
    """Hold the workspace's lock `name`, so that one operation of a kind is at work at a time.

    Raises:
        BridgeRecError: `busy`, because another one is at work.
    """
    workspace.operations.mkdir(parents=True, exist_ok=True)
    with (workspace.operations / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise busy from error
        yield
