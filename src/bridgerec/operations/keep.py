"""Staying: what `up` started and is gone is started again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError
from bridgerec.operations.control import AtWork, up
from bridgerec.operations.state import read_state

EVERY = 2.0  # seconds between two looks
LONGEST = 60.0  # seconds; so much after a start that failed
Say = Callable[[str], None]


def keep(workspace: Workspace, over: Event, say: Say = print, every: float = EVERY) -> None:
    """Look again and again whether all parts live, and say `up` where one does not; each comes back
    on its own port.  Ends when `over` is set, or when somebody said `bridgerec down`.

    What cannot be started is told, and tried again with growing pauses.
    """
    ports: dict[str, int] = {}  # of all that has to live, also while a start of it fails
    pause, failed = every, False
    while not over.wait(pause):
        try:
            state = read_state(workspace)
            if not (state.parts or failed):
                return
            ports |= {name: part.port or 0 for name, part in state.parts.items()}
            if not all(map(state.alive, ports)):
                up(workspace, ports, say)
            pause, failed = every, False
        except AtWork:
            continue
        except BridgeRecError as error:
            say(str(error))
            pause, failed = min(2 * pause, LONGEST), True


@contextmanager
def kept(workspace: Workspace, say: Say = print, every: float = EVERY) -> Iterator[None]:
    """`keep` in the background while the block runs."""
    over = Event()
    thread = Thread(target=keep, args=(workspace, over, say, every), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
