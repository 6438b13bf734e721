"""What the service learns while it runs: events, new items, feedback, and who was forgotten.

A store is shared by all workers.  `add`, `add_item`, `feedback` and `forget` return only when the
change is on disk (sqlite) or the server has confirmed it (redis), and the next `look` of every
worker sees it.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, ConfigError


class StateError(BridgeRecError):
    """The store cannot be opened, read or written; the message says where and what to do."""

    exit_code = 7


class Event(NamedTuple):
    """`person` is whom the release (or the request) knows; `event_id` is unique per person."""

    event_id: str
    person: str
    domain: str
    item_id: str
    timestamp: int  # seconds
    kind: str = "view"
    value: float | None = None


@dataclass(frozen=True)
class NewItem:
    """An item as it was posted; `vector` float16 bytes in the space named `space`."""

    domain: str
    item_id: str
    title: str
    description: str = ""
    category: str = ""
    brand: str = ""
    price: float | None = None
    image: str | None = None
    space: str = ""
    vector: bytes = field(default=b"", repr=False)

    def dump(self) -> bytes:
        """JSON, with the vector as hexadecimal digits."""
        return orjson.dumps({**asdict(self), "vector": self.vector.hex()})

    @classmethod
    def load(cls, content: bytes) -> "NewItem":
        found: dict[str, Any] = orjson.loads(content)
        return cls(**{**found, "vector": bytes.fromhex(found["vector"])})


@dataclass(frozen=True)
class Reaction:
    """One line of feedback: an item that was `shown` at a position, or `clicked` at a time."""

    request_id: str
    kind: str
    domain: str
    item_id: str
    position: int | None = None
    timestamp: int | None = None


@dataclass(frozen=True)
class View:
    """What one request has to know: a person's newest events, oldest first; whether the release's
    own history of the person was forgotten; items added since, with their numbers."""

    events: tuple[Event, ...] = ()
    forgotten: bool = False
    items: tuple[tuple[int, NewItem], ...] = ()


class Store(Protocol):
    """Live state; every method may raise `StateError`."""

    async def add(self, events: Sequence[Event]) -> int:
        """Keep events; how many were new (an `event_id` that the person has already is not)."""

    async def look(self, person: str | None, limit: int, after: int) -> View:
        """At most `limit` newest events of a person, and the items numbered above `after`."""

    async def count(self, person: str) -> int:
        """How many events of a person are kept."""

    async def forget(self, person: str) -> int:
        """Remove a person's events and remember that the person is forgotten; how many went."""

    async def people(self, prefix: str, limit: int) -> list[str]:
        """Persons with events whose id begins with `prefix`, sorted."""

    async def forgotten(self, persons: Sequence[str]) -> set[str]:
        """Who of `persons` was forgotten."""

    async def add_item(self, item: NewItem) -> int:
        """Keep an item (again: in place of the old one) under a new, higher number."""

    async def feedback(self, reactions: Sequence[Reaction]) -> list[Reaction]:
        """Keep reactions; those that were new."""

    def all_events(self) -> Iterator[Event]:
        """Every event there is, person by person, oldest first.  Blocks; for tools, not for the
        service."""

    def all_items(self) -> Iterator[NewItem]:
        """Every added item, in the order of their numbers.  Blocks, as `all_events`."""

    def close(self) -> None:
        """Write what is waiting, and let go of files and connections."""


def open_store(place: str) -> Store:
    """The store at a folder's path or a `redis://` (or `rediss://`) address.

    Raises:
        ConfigError: the address has another scheme.
        MissingDependency: the extra `redis` is not installed.
        StateError: it cannot be opened.
    """
    scheme, separator, _ = place.partition("://")
    if not separator:
        from bridgerec.serving.state.sqlite import SqliteStore

        return SqliteStore(Path(place))
    if scheme in ("redis", "rediss"):
        from bridgerec.serving.state.redis import RedisStore

        return RedisStore(place)
    raise ConfigError(
        f"service.state: {place!r} is neither a folder nor a redis:// address. Correct it, or the "
        "environment variable BRIDGEREC_STATE."
    )


def state_place(workspace: Workspace) -> str:
    """Where a service of this workspace keeps live state: what `open_store` takes."""
    told = os.environ.get("BRIDGEREC_STATE")
    place = told or workspace.params.service.state or str(workspace.state)
    if "://" in place:
        return place
    return str(Path(place).resolve() if told else workspace.table(place))


def open_kept(workspace: Workspace) -> Store | None:
    """The store of the workspace's service; None where no service kept anything yet.

    Raises:
        ConfigError: the address has an unknown scheme.
        MissingDependency: the extra `redis` is not installed.
        StateError: it cannot be opened.
    """
    place = state_place(workspace)
    if "://" not in place and not (Path(place) / "state.sqlite").is_file():
        return None
    return open_store(place)
