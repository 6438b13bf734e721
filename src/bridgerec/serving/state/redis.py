"""Live state in Redis, for workers on several hosts (`pip install 'bridgerec[redis]'`).

Durability is the server's: run it with `appendonly yes` and `appendfsync always`, or a crash can
lose the last second of accepted events; the store warns where they are off.  One server (or a
primary with replicas) is meant, not a cluster: a script touches keys of several slots.

Every change is one script, so it happens as a whole or not at all; the scripts of concurrent
writers of a process travel in one pipeline.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import orjson

from bridgerec.errors import MissingDependency
from bridgerec.serving.state import Event, NewItem, Reaction, StateError, View
from bridgerec.serving.state.writer import GroupWriter

PREFIX = "bridgerec"
# KEYS: ids, events, number, people; ARGV: person, then id, time and content of each event
ADD = """
local new = 0
for i = 2, #ARGV, 3 do
  if redis.call('HSETNX', KEYS[1], ARGV[i], 1) == 1 then
    local n = redis.call('INCR', KEYS[3])
    redis.call('ZADD', KEYS[2], ARGV[i + 1], string.format('%016d', n) .. ARGV[i + 2])
    new = new + 1
  end
end
if new > 0 then redis.call('ZADD', KEYS[4], 0, ARGV[1]) end
return new
"""
# KEYS: events, forgotten, item numbers, items; ARGV: person, limit, after
LOOK = """
local events, gone, items = {}, 0, {}
if ARGV[1] ~= '' then
  events = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[2] - 1)
  gone = redis.call('SISMEMBER', KEYS[2], ARGV[1])
end
local names = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[3], '+inf', 'WITHSCORES')
for i = 1, #names, 2 do
  items[i] = names[i + 1]
  items[i + 1] = redis.call('HGET', KEYS[4], names[i])
end
return {events, gone, items}
"""
# KEYS: ids, events, people, forgotten; ARGV: person
FORGET = """
local gone = redis.call('HLEN', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('SADD', KEYS[4], ARGV[1])
return gone
"""
# KEYS: number, item numbers, items; ARGV: name, content
ITEM = """
local n = redis.call('INCR', KEYS[1])
redis.call('ZADD', KEYS[2], n, ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
return n
"""
# KEYS: feedback; ARGV: field and content of each reaction
REACT = """
local new = {}
for i = 1, #ARGV, 2 do new[#new + 1] = redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
return new
"""
Call = tuple[str, list[str], list[Any]]  # script, keys, arguments
log = logging.getLogger(__name__)


class RedisStore:
    """A `Store` behind a `redis://` address; keys begin with `bridgerec:`.

    Raises:
        MissingDependency: the extra is not installed.
        StateError: the server does not answer.
    """

    def __init__(self, url: str) -> None:
        try:
            import redis
        except ImportError as error:
            raise MissingDependency(
                "service.state is a redis:// address, which needs redis: "
                "pip install 'bridgerec[redis]'"
            ) from error
        self._errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self._url = url.rpartition("@")[2]  # without a password
        try:
            self._client: Any = redis.Redis.from_url(url, socket_timeout=5)
            self._client.ping()
        except (*self._errors, ValueError) as error:
            raise StateError(f"the store redis at {self._url} does not answer: {error}") from error
        self._warn()
        self._scripts = {
            s: self._client.register_script(s) for s in (ADD, LOOK, FORGET, ITEM, REACT)
        }
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="state-read")
        self._group: GroupWriter[Call] = GroupWriter(self._commit, "state")

    def _warn(self) -> None:
        try:
            found = {**self._client.config_get("append*")}
        except self._errors:
            return  # a server that does not tell
        if found.get("appendonly") != "yes" or found.get("appendfsync") != "always":
            log.warning(
                "redis at %s can lose accepted events in a crash: set appendonly yes and "
                "appendfsync always", self._url,
            )  # fmt: skip

    def _commit(self, calls: list[Call]) -> list[Any]:
        def send() -> list[Any]:
            pipeline = self._client.pipeline(transaction=False)
            for script, keys, arguments in calls:
                self._scripts[script](keys=keys, args=arguments, client=pipeline)
            found: list[Any] = pipeline.execute()
            return found

        return self._named(send)

    def _named(self, function: Callable[[], Any]) -> Any:
        try:
            return function()
        except self._errors as error:
            raise StateError(f"the store redis at {self._url} failed: {error}.") from error

    async def _read(self, function: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._named, function)

    async def add(self, events: Sequence[Event]) -> int:
        by_person: dict[str, list[Any]] = {}
        for e in events:
            content = orjson.dumps([e.event_id, e.domain, e.item_id, e.timestamp, e.kind, e.value])
            by_person.setdefault(e.person, []).extend([e.event_id, e.timestamp, content])
        calls = [
            self._group.write(
                (ADD, [*_own(person), _key("events"), _key("people")], [person, *arguments])
            )
            for person, arguments in by_person.items()
        ]
        return sum(await asyncio.gather(*calls))

    async def look(self, person: str | None, limit: int, after: int) -> View:
        keys = [_own(person or "")[1], _key("forgotten"), _key("item-numbers"), _key("items")]

        def read() -> Any:
            return self._scripts[LOOK](keys=keys, args=[person or "", limit, after])

        found, gone, rows = await self._read(read)
        events = [_event(str(person), row) for row in found[::-1]]
        items = [(int(n), NewItem.load(c)) for n, c in zip(rows[::2], rows[1::2], strict=True)]
        return View(tuple(events), bool(gone), tuple(items))

    async def count(self, person: str) -> int:
        return int(await self._read(lambda: self._client.zcard(_own(person)[1])))

    async def forget(self, person: str) -> int:
        keys = [*_own(person), _key("people"), _key("forgotten")]
        return int(await self._group.write((FORGET, keys, [person])))

    async def people(self, prefix: str, limit: int) -> list[str]:
        start = b"[" + prefix.encode()

        def read() -> Any:
            return self._client.zrangebylex(_key("people"), start, b"+", 0, limit)

        found = [name.decode() for name in await self._read(read)]
        return [name for name in found if name.startswith(prefix)]

    async def forgotten(self, persons: Sequence[str]) -> set[str]:
        if not persons:
            return set()
        found = await self._read(lambda: self._client.smismember(_key("forgotten"), list(persons)))
        return {person for person, gone in zip(persons, found, strict=True) if gone}

    async def add_item(self, item: NewItem) -> int:
        keys = [_key("items-added"), _key("item-numbers"), _key("items")]
        name = orjson.dumps([item.domain, item.item_id])
        return int(await self._group.write((ITEM, keys, [name, item.dump()])))

    async def feedback(self, reactions: Sequence[Reaction]) -> list[Reaction]:
        if not reactions:
            return []
        now = int(time.time())
        arguments: list[Any] = []
        for r in reactions:
            arguments.append(orjson.dumps([r.request_id, r.kind, r.domain, r.item_id]))
            arguments.append(orjson.dumps([r.position, r.timestamp, now]))
        new = await self._group.write((REACT, [_key("feedback")], arguments))
        return [r for r, kept in zip(reactions, new, strict=True) if kept]

    def all_events(self) -> Iterator[Event]:
        start = b"-"
        people, rows = self._client.zrangebylex, self._client.zrange
        while names := self._named(partial(people, _key("people"), start, b"+", 0, 1000)):
            for name in names:
                person = name.decode()
                for row in self._named(partial(rows, _own(person)[1], 0, -1)):
                    yield _event(person, row)
            start = b"(" + names[-1]

    def all_items(self) -> Iterator[NewItem]:
        names, content = self._client.zrange, self._client.hget
        for name in self._named(partial(names, _key("item-numbers"), 0, -1)):
            yield NewItem.load(self._named(partial(content, _key("items"), name)))

    def close(self) -> None:
        self._group.close()
        self._pool.shutdown(wait=False)
        self._client.close()


def _event(person: str, row: bytes) -> Event:
    event_id, *rest = orjson.loads(row[16:])  # after its place among equal times
    return Event(event_id, person, *rest)


def _key(name: str) -> str:
    return f"{PREFIX}:{name}"


def _own(person: str) -> list[str]:
    """The keys of a person's event ids and events."""
    return [f"{PREFIX}:ids:{person}", f"{PREFIX}:of:{person}"]
