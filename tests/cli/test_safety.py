"""Nothing of a user's is replaced unasked, and every error is one message."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

import bridgerec.cli as cli
from bridgerec.cli.app import app
from bridgerec.cli.demo import get_data
from bridgerec.cli.evaluation import show
from bridgerec.cli.recommend import answer
from bridgerec.config import Workspace
from bridgerec.data.simulate import DOMAINS, simulate
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.runtime import BrokenFile
from helpers import REPOSITORY, dvc, small_params


def small(root: Path, force: bool = False, seed: int = 1) -> None:
    simulate(root, seed=seed, users=60, items=60, force=force)


def test_simulate_replaces_its_own_output_alone(tmp_path: Path) -> None:
    small(tmp_path)
    small(tmp_path, seed=2)
    own = tmp_path / "data" / "books" / "items.csv"
    own.write_text(own.read_text() + "mine,mine\n")
    with pytest.raises(ConfigError, match=r"data/books/items\.csv.*--force"):
        small(tmp_path)
    assert own.read_text().endswith("mine,mine\n")
    small(tmp_path, force=True)
    assert "mine" not in own.read_text()
    (tmp_path / "truth" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"truth/notes\.txt"):
        small(tmp_path)


def test_the_command_simulate_keeps_a_users_tables(small_workspace: Workspace) -> None:
    table = small_workspace.root / "data" / "left" / "items.csv"
    before = table.read_bytes()
    arguments = ["simulate", "-C", str(small_workspace.root), "--users", "60", "--items", "60"]
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, ConfigError)
    assert table.read_bytes() == before
    assert CliRunner().invoke(app, [*arguments, "--force"]).exit_code == 0


def test_demo_names_the_missing_table_and_keeps_the_others(small_workspace: Workspace) -> None:
    kept = small_workspace.root / "data" / "left" / "items.csv"
    (small_workspace.root / "data" / "right" / "items.csv").unlink()
    with pytest.raises(ConfigError, match=r"data/right/items\.csv does not exist"):
        get_data(small_workspace)
    assert kept.is_file()
    shutil.rmtree(small_workspace.root / "data")  # still not the demo's tables
    with pytest.raises(ConfigError, match="does not exist"):
        get_data(small_workspace)
    assert not (small_workspace.root / "data").exists()


def test_demo_simulates_where_there_is_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bridgerec.data.simulate as module

    monkeypatch.setattr(module, "simulate", lambda root, seed: small(root))
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    (tmp_path / "data").mkdir()
    get_data(Workspace.open(tmp_path))
    assert {p.name for p in (tmp_path / "data").iterdir()} == set(DOMAINS)
    (tmp_path / "data" / "books" / "items.csv").unlink()
    with pytest.raises(ConfigError, match=r"data/books/items\.csv does not exist"):
        get_data(Workspace.open(tmp_path))


def test_demo_pulls_the_data_where_a_remote_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bridgerec.data.simulate as module

    root = tmp_path / "workspace"
    root.mkdir()
    shutil.copy(REPOSITORY / "params.yaml", root)
    small(root)
    dvc(root, "init", "-q", "--no-scm")
    dvc(root, "remote", "add", "-q", "-d", "near", str(tmp_path / "near"))
    dvc(root, "add", "-q", "data")
    dvc(root, "push", "-q")
    table = root / "data" / "books" / "items.csv"
    before = table.read_bytes()
    shutil.rmtree(root / "data")
    shutil.rmtree(root / ".dvc" / "cache")

    def simulate_instead(root: Path, seed: int) -> None:
        raise AssertionError("simulated, though there is a remote")

    monkeypatch.setattr(module, "simulate", simulate_instead)
    get_data(Workspace.open(root))
    assert table.read_bytes() == before


@pytest.mark.slow
def test_the_demos_data_are_those_of_the_committed_hash(tmp_path: Path) -> None:
    simulate(tmp_path, seed=42)
    dvc(tmp_path, "init", "-q", "--no-scm")
    dvc(tmp_path, "add", "-q", "data")
    made, committed = (
        yaml.safe_load((root / "data.dvc").read_text()) for root in (tmp_path, REPOSITORY)
    )
    assert made == committed


def test_a_failing_remote_is_told(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    shutil.copy(REPOSITORY / "data.dvc", tmp_path)
    dvc(tmp_path, "init", "-q", "--no-scm")
    dvc(tmp_path, "remote", "add", "-q", "-d", "away", str(tmp_path / "nowhere"))
    with pytest.raises(BridgeRecError, match=r"dvc pull data\.dvc"):
        get_data(Workspace.open(tmp_path))


def test_damaged_metrics_are_named(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "evaluation" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"test": {')
    with pytest.raises(BrokenFile, match=r"metrics\.json is damaged.*bridgerec run"):
        show(Workspace.open(tmp_path))


def test_a_request_that_the_service_refuses_is_a_config_error(tmp_path: Path) -> None:
    history = [{"domain": "books", "item_id": "x" * 600}]
    with pytest.raises(ConfigError, match=r"history\.0\.item_id: .*500 characters"):
        answer(Workspace.open(tmp_path), {"target": "films", "history": history})


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyError("lost"), 70, "run again with --debug"),
        (BrokenFile("a.json is damaged"), 4, "a.json is damaged"),
        (ConfigError("wrong key"), 2, "wrong key"),
    ],
)
def test_every_error_is_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    message: str,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("bridgerec.cli.app.app", fail)
    monkeypatch.setattr(sys, "argv", ["bridgerec", "evaluation"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == code
    assert message in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["bridgerec", "evaluation", "--debug"])
    with pytest.raises(type(error)):
        cli.main()


def every_command(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command and command of a command, with the words that call it."""
    below = getattr(command, "commands", {})
    for name, found in below.items():
        yield from every_command(found, *words, name)
    if words and (not below or command.invoke_without_command):
        yield words, command


def test_every_command_takes_a_directory() -> None:
    found = dict(every_command(typer.main.get_command(app)))
    assert {("demo",), ("keys", "add"), ("releases", "promote"), ("releases",)} <= found.keys()
    for words, command in found.items():
        options = {option for param in command.params for option in param.opts}
        assert {"-C", "--debug"} <= options, words
        assert command.help, words


def test_a_command_of_a_command_works_where_it_is_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        params = small_params(service={"keys": f"{name}.json"})
        (tmp_path / name / "params.yaml").write_text(yaml.safe_dump(params))
    one, two = tmp_path / "one", tmp_path / "two"
    assert CliRunner().invoke(app, ["keys", "add", "ann", "-C", str(one)]).exit_code == 0
    assert "ann" in CliRunner().invoke(app, ["keys", "list", "-C", str(one)]).output
    assert "ann" not in CliRunner().invoke(app, ["keys", "list", "-C", str(two)]).output
    assert (one / "one.json").is_file()
    for words in (["promote", "v1"], ["show", "v1"]):
        found = CliRunner().invoke(app, ["releases", *words, "-C", str(two)])
        assert isinstance(found.exception, BridgeRecError)
        assert str(two) in str(found.exception)


def test_no_trace_of_a_truncated_file_reaches_the_user(tmp_path: Path) -> None:
    (tmp_path / "reports" / "evaluation").mkdir(parents=True)
    (tmp_path / "reports" / "evaluation" / "metrics.json").write_text(json.dumps({"test": 1})[:-2])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_params()))
    found = subprocess.run(
        [sys.executable, "-m", "bridgerec.cli", "evaluation", "-C", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 4
    assert "metrics.json" in found.stderr
    assert "Traceback" not in found.stderr
