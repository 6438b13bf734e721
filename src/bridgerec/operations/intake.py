"""What the service accepted since the last time becomes the next version of data/."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Taken:
    """What an intake did.  `before` and `after` are DVC's hashes of data/ (equal: nothing was
    new); `rows`, `items` and `changed` count, by domain, events and items that were appended, and
    items whose row was replaced; `left` counts by reason what stays in the service's store."""

    before: str | None
    after: str | None
    rows: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def take_in(workspace: Workspace, say: Say = lambda _: None) -> Taken:
    """Append new events and items to the workspace's tables, as a whole or not at all.

    Raises:
        ValidationFailed: the new data break the data contract; data/ is as it was.
    """
    raise BridgeRecError("the intake is being written")
