"""Which release is live, and who may change that."""

import json
import multiprocessing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridgerec.errors import ArtifactError, ConfigError, GateRefused
from bridgerec.registry.current import (
    hindrance,
    live,
    pin,
    promote,
    read_current,
    rollback,
    unpin,
)
from bridgerec.registry.store import Release, Store
from bridgerec.runtime import read_json
from releases_world import kept


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "releases")


@pytest.fixture
def three(tmp_path: Path) -> list[Release]:
    return [kept(tmp_path, f"{'abc'[n]}00{n}", n + 1) for n in range(3)]


def test_nothing_is_live_before_the_first_promotion(store: Store, three: list[Release]) -> None:
    assert live(store) is None
    promote(store, three[0])
    found = live(store)
    assert found is not None
    assert found.id == three[0].id
    assert [r.id for r in store.all()] == [r.id for r in three]


def test_rollback_goes_back_step_by_step_and_not_to_and_fro(
    store: Store, three: list[Release]
) -> None:
    for release in three:
        promote(store, release)
    assert rollback(store, reason="complaints").release == three[1].id
    assert rollback(store).release == three[0].id
    with pytest.raises(ConfigError, match="nothing was live before"):
        rollback(store)
    moves = [(m.release, m.previous, m.by) for m in read_current(store).history]
    assert moves[-2:] == [
        (three[1].id, three[2].id, "rollback"),
        (three[0].id, three[1].id, "rollback"),
    ]


def test_a_flow_does_not_bring_back_what_was_rolled_back(
    store: Store, three: list[Release]
) -> None:
    promote(store, three[0])
    promote(store, three[1])
    rollback(store, reason="complaints")
    assert "complaints" in str(hindrance(store, three[1]))
    assert hindrance(store, three[2]) is None
    promote(store, three[1])  # a person may
    assert hindrance(store, three[1]) is None


def test_a_pin_holds_until_it_is_lifted(store: Store, three: list[Release]) -> None:
    pin(store, three[0])
    assert "pinned" in str(hindrance(store, three[1]))
    with pytest.raises(ConfigError, match="unpin"):
        promote(store, three[1])
    assert unpin(store).release == three[0].id
    assert promote(store, three[1]).pinned is False


def test_rolling_back_from_a_pinned_release_lifts_the_pin(
    store: Store, three: list[Release]
) -> None:
    promote(store, three[0])
    pin(store, three[1])
    assert rollback(store) == read_current(store)
    assert not read_current(store).pinned


def test_a_refused_release_needs_an_override_with_a_reason(tmp_path: Path, store: Store) -> None:
    weak = kept(tmp_path, "weak", 1, allowed=False)
    with pytest.raises(GateRefused, match="too weak"):
        promote(store, weak)
    with pytest.raises(ConfigError, match="reason"):
        promote(store, weak, "  ", override=True)
    assert live(store) is None
    promote(store, weak, "the old one is on fire", override=True)
    [written] = read_json(weak.folder / "dossier.json")["overrides"]
    assert written["reason"] == "the old one is on fire"
    assert written["against"]["reasons"] == ["refused: too weak"]
    assert read_current(store).history[-1].by == "override"


def test_a_damaged_release_never_becomes_live(store: Store, three: list[Release]) -> None:
    promote(store, three[0])
    (three[1].bento / "src" / "bundle" / "manifest.json").write_text('{"sha256": {"gone": "1"}}')
    with pytest.raises(ArtifactError, match="gone"):
        promote(store, three[1])
    assert read_current(store).release == three[0].id


def test_a_damaged_pointer_and_a_lost_folder_say_what_to_do(
    store: Store, three: list[Release]
) -> None:
    promote(store, three[0])
    three[0].bento.rename(three[0].folder / "away")
    with pytest.raises(ArtifactError, match="rollback"):
        live(store)
    (store.root / "current.json").write_text("{")
    with pytest.raises(ArtifactError, match="promote ID"):
        read_current(store)


def test_ids_may_be_shortened_while_they_are_unique(store: Store, three: list[Release]) -> None:
    assert store.find("b").id == three[1].id
    (store.root / "b009").mkdir()
    (store.root / "b009" / "record.json").write_text('{"kept": "2027"}')
    with pytest.raises(ConfigError, match="b001, b009"):
        store.find("b")
    with pytest.raises(ConfigError, match="Kept are: a000"):
        store.find("z")


def _promote(store: Store, release: Release) -> None:
    for _ in range(5):
        promote(store, release)


def test_changes_by_several_processes_lose_no_move(store: Store, three: list[Release]) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_promote, args=(store, r)) for r in three]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    history = read_current(store).history
    assert {m.release for m in history} == {r.id for r in three}
    before: list[str | None] = [None, *(m.release for m in history)]
    assert [m.previous for m in history] == before[:-1]


def test_the_commands(tmp_path: Path, three: list[Release]) -> None:
    from bridgerec.cli.app import app

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["releases", *words, "-C", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return done.output

    said("promote", "a")
    said("pin", "b")
    rows = json.loads(said("--json"))
    assert [(r["release"][0], r["live"], r["pinned"]) for r in rows] == [
        ("c", False, False),
        ("b", True, True),
        ("a", False, False),
    ]
    assert rows[1]["data_hash"] == "data2"
    assert rows[1]["value"] == 0.25
    said("rollback", "--reason", "worse")
    plan = read_json(tmp_path / "canary.live.json")
    assert (plan["bento"], plan["weight"]) == (str(three[0].bento), 1.0)
    assert "a000" in said()
