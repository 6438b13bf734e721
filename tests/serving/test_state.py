"""What every store must do; the same tests for a SQLite file and a real Redis server."""

import asyncio
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bridgerec.errors import ConfigError
from bridgerec.serving.state import Event, NewItem, Reaction, StateError, Store, open_store
from redis_server import redis_server

T = TypeVar("T")
ADDER = """
import asyncio, sys
from bridgerec.serving.state import Event, open_store
async def main():
    store = open_store(sys.argv[1])
    wave = [store.add([Event(f"{sys.argv[2]}-{i}", f"p{i % 7}", "films", f"f{i}", i)])
            for i in range(200)]
    print(sum(await asyncio.gather(*wave)))
asyncio.run(main())
"""


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def event(number: int, person: str = "ann", **changes: Any) -> Event:
    return Event(**{"event_id": f"e{number}", "person": person, "domain": "films",
                    "item_id": f"f{number}", "timestamp": 1000 + number, **changes})  # fmt: skip


class StoreContract:
    """Subclasses give `place`: what `open_store` opens, empty at first."""

    @pytest.fixture
    def store(self, place: str) -> Iterator[Store]:
        found = open_store(place)
        yield found
        found.close()

    def test_an_event_is_kept_once(self, store: Store) -> None:
        assert run(store.add([event(1), event(2)])) == 2
        assert run(store.add([event(2), event(3)])) == 1
        assert run(store.add([event(3), event(3)])) == 0
        assert run(store.count("ann")) == 3

    def test_ids_of_one_person_do_not_block_those_of_another(self, store: Store) -> None:
        run(store.add([event(1)]))
        assert run(store.add([event(1, "bob")])) == 1

    def test_events_come_back_whole_and_oldest_first(self, store: Store) -> None:
        first = event(5, kind="like", value=2.5, domain="bücher", item_id="书:1")
        run(store.add([event(9), first, event(7)]))
        assert run(store.look("ann", 10, 0)).events == (first, event(7), event(9))
        assert run(store.look("ann", 2, 0)).events == (event(7), event(9))
        assert run(store.look("nobody", 2, 0)).events == ()

    def test_equal_times_stay_in_the_order_they_came(self, store: Store) -> None:
        same = [event(n, timestamp=50, event_id=f"{99 - n}") for n in range(20)]
        for one in same:
            run(store.add([one]))
        assert run(store.look("ann", 100, 0)).events == tuple(same)

    def test_all_that_is_kept(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bridgerec.serving.state.sqlite.PAGE", 3)
        kept = [event(n, person, timestamp=n // 2) for person in ("ann", "书") for n in range(7)]
        for one in reversed(kept[:6]):
            run(store.add([one]))
        run(store.add(kept))
        found = list(store.all_events())
        assert sorted(found) == sorted(kept)
        assert [(e.person, e.timestamp) for e in found] == [(e.person, e.timestamp) for e in kept]
        items = [NewItem("films", f"f{n}", "one", vector=b"12") for n in (2, 1, 3)]
        for item in (*items, NewItem("films", "f2", "two")):
            run(store.add_item(item))
        assert list(store.all_items()) == [*items[1:], NewItem("films", "f2", "two")]

    def test_who_is_forgotten_stays_forgotten_and_can_come_again(self, store: Store) -> None:
        run(store.add([event(1), event(2), event(1, "anna")]))
        assert run(store.forget("ann")) == 2
        gone = run(store.look("ann", 10, 0))
        assert gone.forgotten
        assert gone.events == ()
        assert not run(store.look("anna", 10, 0)).forgotten
        assert run(store.forget("never-met")) == 0
        assert run(store.forgotten(["ann", "anna", "never-met"])) == {"ann", "never-met"}
        assert run(store.forgotten([])) == set()
        run(store.add([event(3)]))
        again = run(store.look("ann", 10, 0))
        assert again.events == (event(3),)
        assert again.forgotten  # the release's own history stays out

    def test_people_by_their_beginning(self, store: Store) -> None:
        for name in ("ann", "anna", "bob", "an%", "ännchen"):
            run(store.add([event(1, name), event(2, name)]))
        assert run(store.people("ann", 10)) == ["ann", "anna"]
        assert run(store.people("an", 2)) == ["an%", "ann"]
        assert run(store.people("ä", 10)) == ["ännchen"]
        assert run(store.people("z", 10)) == []
        assert len(run(store.people("", 10))) == 5
        run(store.forget("ann"))
        assert run(store.people("ann", 10)) == ["anna"]

    def test_items_are_numbered_and_replaced(self, store: Store) -> None:
        lamp = NewItem("films", "n1", "Lamp", price=3.5, space="s", vector=b"\x00\xff\x10")
        first = run(store.add_item(lamp))
        second = run(store.add_item(NewItem("books", "n1", "A book")))
        assert second > first
        found = run(store.look(None, 10, 0)).items
        assert found == ((first, lamp), (second, NewItem("books", "n1", "A book")))
        assert run(store.look(None, 10, first)).items == found[1:]
        newer = NewItem("films", "n1", "A better lamp")
        third = run(store.add_item(newer))
        assert run(store.look("ann", 10, second)).items == ((third, newer),)
        assert len(run(store.look(None, 10, 0)).items) == 2

    def test_feedback_is_kept_once(self, store: Store) -> None:
        shown = Reaction("r1", "shown", "films", "f1", position=1)
        clicked = Reaction("r1", "clicked", "films", "f1", timestamp=5)
        assert run(store.feedback([shown, clicked])) == [shown, clicked]
        other = Reaction("r2", "shown", "films", "f1", position=1)
        assert run(store.feedback([shown, other])) == [other]
        assert run(store.feedback([])) == []

    def test_everything_is_there_after_opening_again(self, place: str) -> None:
        store = open_store(place)
        run(store.add([event(1)]))
        run(store.forget("bob"))
        number = run(store.add_item(NewItem("films", "n1", "Lamp")))
        store.close()
        again = open_store(place)
        assert run(again.look("ann", 10, 0)).events == (event(1),)
        assert run(again.look("bob", 10, number)).forgotten
        assert run(again.add_item(NewItem("films", "n2", "Sofa"))) > number
        again.close()

    def test_another_process_sees_a_change_at_once(self, place: str) -> None:
        one, two = open_store(place), open_store(place)

        async def alternate() -> None:
            for n in range(50):
                await (one if n % 2 else two).add([event(n)])
                seen = await (two if n % 2 else one).look("ann", 100, 0)
                assert len(seen.events) == n + 1

        run(alternate())
        one.close()
        two.close()

    def test_many_writers_in_many_processes_lose_nothing(self, place: str) -> None:
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", ADDER, place, str(n)], stdout=subprocess.PIPE, text=True
            )
            for n in range(3)
        ]
        assert [int(w.communicate(timeout=60)[0]) for w in workers] == [200, 200, 200]
        store = open_store(place)
        assert sum(run(store.count(f"p{n}")) for n in range(7)) == 600
        store.close()


class TestSqlite(StoreContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return str(tmp_path / "state")

    def test_forgotten_people_are_gone_from_the_file(self, store: Store, tmp_path: Path) -> None:
        run(store.add([event(1, "very-secret-person", item_id="very-secret-item")]))
        run(store.forget("very-secret-person"))
        content = b"".join(p.read_bytes() for p in (tmp_path / "state").iterdir())
        assert b"very-secret-item" not in content

    def test_forgotten_people_leave_the_disk_once_nobody_reads_them(
        self, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        def left() -> bool:
            parts = [p.read_bytes() for p in (tmp_path / "state").iterdir()]
            return b"very-secret-item" in b"".join(parts)

        async def forgotten_while_read() -> None:
            await store.add([event(1, item_id="very-secret-item")])
            reading = asyncio.create_task(read(0.4))
            await asyncio.sleep(0.1)
            await store.forget("ann")
            assert not left()  # it came back when the reader was gone
            assert "still holds" not in caplog.text
            await reading
            await store.add([event(2, item_id="very-secret-item")])
            reading = asyncio.create_task(read(3))
            await asyncio.sleep(0.1)
            await store.forget("ann")
            assert "still holds what was removed" in caplog.text
            await reading
            await store.add([event(3)])
            assert not left()

        async def read(seconds: float) -> None:
            """As another process would, for so long."""
            reader = sqlite3.connect(tmp_path / "state" / "state.sqlite", isolation_level=None)
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchone()
            await asyncio.sleep(seconds)
            reader.close()

        run(forgotten_while_read())

    def test_only_its_owner_can_read_it(self, store: Store, tmp_path: Path) -> None:
        run(store.add([event(1)]))
        modes = {p.name: p.stat().st_mode & 0o77 for p in (tmp_path / "state").iterdir()}
        assert modes["state.sqlite"] == 0
        assert not any(modes.values()), modes

    def test_a_damaged_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "state.sqlite").write_bytes(b"no database" * 1000)
        with pytest.raises(StateError, match=r"state\.sqlite"):
            open_store(str(tmp_path))

    def test_a_failing_commit_fails_its_writers_and_no_others(self, store: Store) -> None:
        bad = event(1, timestamp=2**70)  # no 64-bit number
        with pytest.raises((StateError, OverflowError)):
            run(store.add([bad]))
        assert run(store.add([event(2)])) == 1
        assert run(store.count("ann")) == 1


class TestRedis(StoreContract):
    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with redis_server(tmp_path_factory.mktemp("redis")) as address:
            yield address

    @pytest.fixture
    def place(self, server: str) -> str:
        import redis

        redis.Redis.from_url(server).flushall()
        return server


def test_a_look_is_shared_within_a_round_of_the_loop_alone(tmp_path: Path) -> None:
    ours, theirs = open_store(str(tmp_path)), open_store(str(tmp_path))

    async def work() -> list[int]:
        first = await ours.look(None, 10, 0)
        await theirs.add_item(NewItem("films", "new", "one"))  # another worker's
        later = await asyncio.gather(ours.look(None, 10, 0), ours.look(None, 10, 0))
        past = await ours.look(None, 10, later[0].items[0][0])  # of the same round, but not of all
        return [len(view.items) for view in (first, *later, past)]

    assert run(work()) == [0, 1, 1, 0]
    ours.close()
    theirs.close()


def test_a_place_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="file"):
        open_store(str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="postgres"):
        open_store("postgres://somewhere")
    pytest.importorskip("redis")
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        address = f"redis://user:hush@127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(StateError, match="does not answer") as told:
            open_store(address)
    assert "hush" not in str(told.value)
