"""API keys: the file, the command, and what may be served without them."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridgerec.cli.app import app
from bridgerec.config import Workspace
from bridgerec.errors import ConfigError
from bridgerec.serving.keys import KeyRing, add_key, list_keys, revoke_key
from bridgerec.serving.launch import Settings, check_access


def test_only_a_salted_hash_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.json"
    key = add_key(path, "shop", ("reader", "writer"), rate=7)
    again = add_key(path, "other", ("reader",))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert key.split("_", 2)[2] not in text
    rows = json.loads(text)["keys"]
    assert rows[0]["salt"] != rows[1]["salt"]
    assert len(key.split("_", 2)[2]) >= 43  # 32 bytes
    assert key != again
    ring = KeyRing(path)
    found = ring.find(key)
    assert found is not None
    assert (found.name, found.roles, found.rate) == ("shop", {"reader", "writer"}, 7)
    for wrong in ("", key[:-1], key + "_", key.replace("br", "bx", 1), again[:12] + key[12:]):
        assert ring.find(wrong) is None
    assert [x.name for x in path.parent.iterdir()] == ["keys.json"]


def test_a_running_ring_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first = add_key(path, "first", ("reader",))
    ring = KeyRing(path)
    assert ring.find(first)
    second = add_key(path, "second", ("admin",))
    assert ring.find(second)
    revoke_key(path, "first")
    assert ring.find(first) is None
    revoke_key(path, second.split("_")[1])  # by id
    assert ring.find(second) is None
    with pytest.raises(ConfigError, match="no key 'second'"):
        revoke_key(path, "second")
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        ring.find(first)


def test_editors_at_once_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    threads = [
        threading.Thread(target=add_key, args=(path, f"k{n}", ("reader",))) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row["name"] for row in list_keys(path)} == {f"k{n}" for n in range(20)}


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path, "a", ("admin",))
    path.chmod(0o620)
    with pytest.raises(ConfigError, match="chmod 600"):
        list_keys(path)
    with pytest.raises(ConfigError, match="chmod 600"):
        KeyRing(path).find(key)


@pytest.mark.parametrize(
    "row",
    [
        {"roles": ["owner"]},
        {"roles": 3},
        {"rate": -1},
        {"rate": "fast"},
        {"salt": None},
        {"name": 5},
    ],
)
def test_a_damaged_row_is_told(tmp_path: Path, row: dict[str, object]) -> None:
    path = tmp_path / "keys.json"
    add_key(path, "a", ("admin",))
    rows = json.loads(path.read_text())["keys"]
    path.write_text(json.dumps({"keys": [{**rows[0], **row}]}))
    with pytest.raises(ConfigError, match="no readable keys"):
        list_keys(path)


def test_the_command(small_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRIDGEREC_KEYS", raising=False)
    there = ["-C", str(small_workspace.root)]

    def run(*arguments: str) -> str:
        found = CliRunner().invoke(app, ["keys", *arguments, *there])
        if found.exception is not None:
            raise found.exception
        return str(found.stdout)

    key = run("add", "shop", "--role", "writer", "--rate", "50").splitlines()[0]
    path = small_workspace.root / "keys.json"
    found = KeyRing(path).find(key)
    assert found is not None
    assert (found.roles, found.rate) == ({"writer"}, 50)
    shown = run("list")
    assert "shop" in shown
    assert "writer" in shown
    assert key not in shown
    with pytest.raises(ConfigError, match="already"):
        run("add", "shop")
    with pytest.raises(ConfigError, match="reader, writer, admin"):
        run("add", "more", "--role", "root")
    with pytest.raises(ConfigError, match="more than 0"):
        run("add", "more", "--rate", "0")
    run("revoke", "shop")
    assert KeyRing(path).find(key) is None
    elsewhere = small_workspace.root / "elsewhere.json"
    monkeypatch.setenv("BRIDGEREC_KEYS", str(elsewhere))
    run("add", "shop")
    assert elsewhere.is_file()


def test_listening_for_others_needs_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    for local in ("127.0.0.1", "127.8.8.8", "::1"):
        check_access(local, None, False)
    for host in ("0.0.0.0", "::", "192.168.1.4"):
        with pytest.raises(ConfigError, match=r"keys add.*--open"):
            check_access(host, None, False)
        check_access(host, None, True)
    with pytest.raises(ConfigError, match="does not exist"):
        check_access("127.0.0.1", path, False)
    add_key(path, "a", ("reader",))
    check_access("0.0.0.0", path, False)
    with pytest.raises(ConfigError, match="IP address"):
        check_access("somewhere", path, False)
    told = Settings(workers=3, keys=path, open_to_all=True).environment(tmp_path)
    assert told["BRIDGEREC_KEYS"] == str(path)
    assert (told["BRIDGEREC_WORKERS"], told["BRIDGEREC_OPEN"]) == ("3", "1")


def test_serve_refuses_before_it_starts(small_workspace: Workspace) -> None:
    arguments = ["serve", "--host", "0.0.0.0", "-C", str(small_workspace.root)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BRIDGEREC")}
    done = subprocess.run(
        [sys.executable, "-m", "bridgerec.cli", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.returncode == ConfigError.exit_code
    assert "bridgerec keys add" in done.stderr
    assert "Traceback" not in done.stderr
