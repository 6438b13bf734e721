"""Batch answers: those of the service, whole or resumable."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from bridgerec.config import Workspace
from bridgerec.errors import ConfigError
from bridgerec.operations.backfill import COLUMNS, Wanted, backfill, read_users
from bridgerec.runtime import read_json, write_json
from bridgerec.serving.launch import running

COPIED = ("params.yaml", "artifacts/bento")


@pytest.fixture
def packaged(finished: Workspace, tmp_path: Path) -> Workspace:
    """A workspace with a Bento and nothing else, which no other test changes."""
    root = tmp_path / "packaged"
    (root / "artifacts").mkdir(parents=True)
    for name in COPIED:
        (root / name).symlink_to(finished.root / name)
    return Workspace.open(root)


def written(workspace: Workspace) -> pl.DataFrame:
    return pl.read_parquet(workspace.root / "artifacts" / "backfill" / "*.parquet")


def test_a_file_of_users(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("\ufeffu1\n\n u2 \r\n书\n", encoding="utf-8")
    assert read_users(tmp_path / "users") == ("u1", "u2", "书")
    with pytest.raises(ConfigError, match="--users"):
        read_users(tmp_path / "none")


@pytest.mark.slow
def test_the_answers_are_those_of_the_service(packaged: Workspace) -> None:
    def ask(user: str) -> dict[str, Any]:
        question = {"target": "films", "user_id": user, "k": 7}
        return httpx.post(f"{url}/recommend", json=question, timeout=60).json()

    with running(packaged.bento, state=str(packaged.state)) as url:
        film = {"domain": "films", "item_id": "F-new", "title": "The Lighthouse Keeper"}
        limit = time.monotonic() + 240
        while httpx.post(f"{url}/items", json=film, timeout=60).status_code != 200:
            assert time.monotonic() < limit  # 503 while the encoder is being loaded
        events = [
            {"user_id": "newcomer", "domain": "films", "item_id": "F-new"},
            {"user_id": "u00001", "domain": "films", "item_id": "F00007"},
        ]
        sent = httpx.post(f"{url}/events", json={"events": events}, timeout=60)
        assert sent.json()["accepted"] == 2
        assert httpx.delete(f"{url}/users/u00002", timeout=60).status_code == 200
        first = [f"u{n:05}" for n in range(12)]
        asked = {user: ask(user) for user in [*first, "newcomer", "nobody"]}
    manifest = backfill(packaged, Wanted(k=7))
    found = written(packaged)
    assert dict(found.schema) == COLUMNS
    assert found.height == manifest["rows"] == 7 * manifest["people"]
    people = set(found["user_id"])
    assert len(people) == manifest["people"]
    assert "newcomer" in people
    assert not {"u00002", "nobody"} & people
    assert "F-new" in set(found["item_id"])
    assert manifest["release"] == asked["newcomer"]["release"]
    some = backfill(packaged, Wanted(tuple(asked), k=7, chunk=5))
    assert some["routes"]["unknown"] == 2  # one was forgotten, one never known
    for rows in (found.filter(pl.col("user_id").is_in(list(asked))), written(packaged)):
        for (user,), own in rows.group_by("user_id"):
            answer = asked[str(user)]
            assert own["rank"].to_list() == list(range(1, 8))
            assert set(own["route"]) == {answer["route"]}
            assert own["item_id"].to_list() == [item["item_id"] for item in answer["items"]]
            assert own["score"].to_list() == pytest.approx(
                [item["score"] for item in answer["items"]], rel=1e-4, abs=1e-5
            )


@pytest.mark.slow
def test_a_killed_run_goes_on_and_another_release_begins_anew(packaged: Workspace) -> None:
    whole = backfill(packaged, Wanted(chunk=40))
    expected = written(packaged)
    home = packaged.root / "artifacts"
    command = [sys.executable, "-m", "bridgerec.cli", "backfill", "--chunk", "40", "-C"]
    with subprocess.Popen([*command, str(packaged.root)], stderr=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 240
        while len(list(home.glob(".backfill/parts/part-*.parquet"))) < 4:
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert written(packaged).equals(expected)  # the old ones, until the new ones are whole
    before = {p.name: p.stat().st_mtime_ns for p in home.glob(".backfill/parts/part-*.parquet")}
    assert 4 <= len(before) < len(list((home / "backfill").glob("part-*")))
    told: list[tuple[int, int]] = []
    found = backfill(packaged, Wanted(chunk=40), lambda done, total: told.append((done, total)))
    assert found["resumed_after"] == 40 * len(before) == told[0][0]
    assert told[-1] == (found["people"], found["people"])
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert written(packaged).equals(expected)
    after = {p.name: p.stat().st_mtime_ns for p in (home / "backfill").glob("part-*")}
    assert before.items() <= after.items()
    assert found["rows"] == whole["rows"]
    assert not (home / ".backfill").exists()
    assert read_json(home / "backfill" / "manifest.json") == found

    # what another release began is not taken up
    (home / ".backfill" / "parts").mkdir(parents=True)
    wrong = expected.with_columns(item_id=pl.lit("wrong"))
    wrong.write_parquet(home / ".backfill" / "parts" / "part-00000.parquet")
    kept = ("data_hash", "targets", "k", "chunk", "users")
    write_json(
        home / ".backfill" / "request.json", {**{k: found[k] for k in kept}, "release": "other"}
    )
    pl.DataFrame({"user_id": ["u00001"]}).write_parquet(home / ".backfill" / "people.parquet")
    assert backfill(packaged, Wanted(chunk=40))["resumed_after"] == 0
    assert written(packaged).equals(expected)

    with pytest.raises(ConfigError, match="unknown target 'music'"):
        backfill(packaged, Wanted(targets=("music",)))
