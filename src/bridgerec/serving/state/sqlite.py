"""Live state in one SQLite file, for all workers of one host.

Write-ahead log with synchronous=FULL: a commit returns when it is on disk, so what was accepted
survives kill -9 and a power cut (if the disk keeps its word).  Writers of one process share
commits (group commit); a lock file lets processes wait their turn without polling.  Reads are
point look-ups of microseconds and never wait for writers, so they run where they are asked.

Put the folder on a local disk: SQLite's log does not work over network file systems.
"""

import asyncio
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridgerec.serving.state import Event, NewItem, Reaction, StateError, View
from bridgerec.serving.state.writer import GroupWriter

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  person TEXT NOT NULL, timestamp INTEGER NOT NULL, seq INTEGER NOT NULL, event_id TEXT NOT NULL,
  domain TEXT NOT NULL, item_id TEXT NOT NULL, kind TEXT NOT NULL, value REAL,
  PRIMARY KEY (person, timestamp, seq)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS event_ids ON events (person, event_id);
CREATE TABLE IF NOT EXISTS forgotten (person TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items (
  number INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL, item_id TEXT NOT NULL,
  content BLOB NOT NULL, UNIQUE (domain, item_id));
CREATE TABLE IF NOT EXISTS feedback (
  request_id TEXT NOT NULL, kind TEXT NOT NULL, domain TEXT NOT NULL, item_id TEXT NOT NULL,
  position INTEGER, timestamp INTEGER, received INTEGER NOT NULL,
  PRIMARY KEY (request_id, kind, domain, item_id)) WITHOUT ROWID;
"""
# stored in the order they are read: a person's events share pages; seq keeps equal times in order
ADD = (
    "INSERT OR IGNORE INTO events SELECT ?2, ?5, coalesce(max(seq), 0) + 1, ?1, ?3, ?4, ?6, ?7 "
    "FROM events WHERE person = ?2 AND timestamp = ?5"
)
LOOK = (
    "SELECT event_id, person, domain, item_id, timestamp, kind, value FROM events "
    "WHERE person = ? ORDER BY timestamp DESC, seq DESC LIMIT ?"
)
GONE = "SELECT 1 FROM forgotten WHERE person = ?"
NEWER = "SELECT number, content FROM items WHERE number > ? ORDER BY number"
NEXT = (
    "SELECT event_id, person, domain, item_id, timestamp, kind, value, seq FROM events "
    "WHERE (person, timestamp, seq) > (?, ?, ?) ORDER BY person, timestamp, seq LIMIT ?"
)
PAGE = 10_000  # events read at once; between pages writers may clean up behind themselves
REACT = "INSERT OR IGNORE INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?)"
Operation = Callable[[sqlite3.Connection], Any]
WAIT = 10_000  # milliseconds that a statement waits for another process
BRIEF = 50  # milliseconds that a commit waits for readers before it empties the log
TRIES, PAUSE = 10, 0.1  # to empty the log after somebody was forgotten; seconds between them
log = logging.getLogger(__name__)


class SqliteStore:
    """A `Store` in `FOLDER/state.sqlite`.

    Raises:
        StateError: the folder cannot be made or the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "state.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(f"the state folder {folder} cannot be written: {error}") from error
        with self._turn(), self._named():
            # made by one process at a time: turning the log on needs the file alone
            self._writer = self._connect()
            self._writer.executescript(SCHEMA)
            self._reader = self._connect()
        self._newest: tuple[int, View] | None = None  # of this round of the event loop
        self._wipe = False  # whether what was removed must leave the disk with this commit
        self._group: GroupWriter[Operation] = GroupWriter(self._commit, "state")

    def _connect(self) -> sqlite3.Connection:
        found = sqlite3.connect(
            self.path, timeout=WAIT / 1000, isolation_level=None, check_same_thread=False
        )
        self.path.chmod(0o600)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            found.execute(f"PRAGMA {pragma}")
        return found

    @contextmanager
    def _turn(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(
                f"{self.path} cannot be used: {error}. Check the disk's space and the folder's "
                "rights."
            ) from error

    @contextmanager
    def _snapshot(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        self._reader.execute("BEGIN")  # one moment for all; also cheaper than one per statement
        try:
            yield self._reader.execute
        finally:
            self._reader.execute("COMMIT")

    def _commit(self, operations: list[Operation]) -> list[Any]:
        with self._turn(), self._named():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                results = [operation(self._writer) for operation in operations]
                self._writer.execute("COMMIT")
            except BaseException:
                self._writer.rollback()
                raise
            if self._wipe:
                self._wipe = not self._emptied()
        return results

    def _emptied(self) -> bool:
        """Empty the log, which still holds pages as they were; not while somebody reads them."""
        self._writer.execute(f"PRAGMA busy_timeout={BRIEF}")
        busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._writer.execute(f"PRAGMA busy_timeout={WAIT}")
        return not busy

    async def add(self, events: Sequence[Event]) -> int:
        def insert(connection: sqlite3.Connection) -> int:
            return connection.executemany(ADD, events).rowcount

        return int(await self._group.write(insert))

    async def look(self, person: str | None, limit: int, after: int) -> View:
        if person is None:
            return self._new_items(after)
        with self._named(), self._snapshot() as read:
            events = [Event(*row) for row in read(LOOK, (person, limit))]
            gone = read(GONE, (person,)).fetchone() is not None
            items = _items(read(NEWER, (after,)))
        return View(tuple(events[::-1]), gone, items)

    def _new_items(self, after: int) -> View:
        """Items added since.  Whoever asks in the same round of the event loop shares one look:
        what it asks for had come before that look."""
        if self._newest is None or self._newest[0] != after:
            with self._named():  # one statement is a snapshot by itself
                view = View(items=_items(self._reader.execute(NEWER, (after,))))
            self._newest = after, view
            asyncio.get_running_loop().call_soon(self._look_again)
        return self._newest[1]

    def _look_again(self) -> None:
        self._newest = None

    async def count(self, person: str) -> int:
        with self._named():
            query = "SELECT count(*) FROM events WHERE person = ?"
            return int(self._reader.execute(query, (person,)).fetchone()[0])

    async def forget(self, person: str) -> int:
        def remove(connection: sqlite3.Connection) -> int:
            self._wipe = True
            gone = connection.execute("DELETE FROM events WHERE person = ?", (person,)).rowcount
            connection.execute(
                "INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (person, int(time.time()))
            )
            return gone

        gone = int(await self._group.write(remove))
        for _ in range(TRIES):
            if not self._wipe:
                return gone
            await asyncio.sleep(PAUSE)
            await self._group.write(lambda _: None)  # a commit tries again
        log.warning(
            "%s-wal still holds what was removed, because another process has been reading it; the "
            "next commits go on trying", self.path,
        )  # fmt: skip
        return gone

    async def people(self, prefix: str, limit: int) -> list[str]:
        with self._named():
            # skips from person to person along the index instead of reading every event
            found: list[str] = []
            query = "SELECT person FROM events WHERE person {} ? ORDER BY person LIMIT 1"
            row = self._reader.execute(query.format(">="), (prefix,)).fetchone()
            while row is not None and row[0].startswith(prefix) and len(found) < limit:
                found.append(row[0])
                row = self._reader.execute(query.format(">"), row).fetchone()
        return found

    async def forgotten(self, persons: Sequence[str]) -> set[str]:
        with self._named():
            return {p for p in persons if self._reader.execute(GONE, (p,)).fetchone()}

    async def add_item(self, item: NewItem) -> int:
        def insert(connection: sqlite3.Connection) -> int | None:
            return connection.execute(
                "INSERT OR REPLACE INTO items (domain, item_id, content) VALUES (?, ?, ?)",
                (item.domain, item.item_id, item.dump()),
            ).lastrowid

        return int(await self._group.write(insert))

    async def feedback(self, reactions: Sequence[Reaction]) -> list[Reaction]:
        now = int(time.time())

        def insert(connection: sqlite3.Connection) -> list[Reaction]:
            return [
                r
                for r in reactions
                if connection.execute(
                    REACT,
                    (r.request_id, r.kind, r.domain, r.item_id, r.position, r.timestamp, now),
                ).rowcount
            ]

        found: list[Reaction] = await self._group.write(insert)
        return found

    def all_events(self) -> Iterator[Event]:
        after: tuple[str, int, int] = ("", -1, -1)
        while True:
            with self._named():
                rows = self._reader.execute(NEXT, (*after, PAGE)).fetchall()
            yield from (Event(*row[:-1]) for row in rows)
            if len(rows) < PAGE:
                return
            after = (rows[-1][1], rows[-1][4], rows[-1][-1])

    def all_items(self) -> Iterator[NewItem]:
        with self._named():
            items = _items(self._reader.execute(NEWER, (0,)))
        yield from (item for _, item in items)

    def close(self) -> None:
        self._group.close()
        self._reader.close()
        self._writer.close()
        os.close(self._lock)


def _items(rows: sqlite3.Cursor) -> tuple[tuple[int, NewItem], ...]:
    return tuple((number, NewItem.load(content)) for number, content in rows.fetchall())
