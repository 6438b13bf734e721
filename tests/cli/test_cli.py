"""The command line as its user meets it."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import typer
import yaml
from typer.testing import CliRunner

from bridgerec.cli.app import EXAMPLES, app
from bridgerec.config import Workspace, load_params
from bridgerec.errors import ConfigError, DataError

COMMANDS = ("stage", "run", "simulate", "evaluation", "monitor", "init", "doctor", "serve", "tune")


def call(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridgerec.cli", *arguments], cwd=cwd, capture_output=True, text=True
    )


def test_help_names_every_command() -> None:
    found = call("--help")
    assert found.returncode == 0
    assert all(name in found.stdout for name in (*COMMANDS, "demo", "recommend"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_commands_help_are_understood(name: str) -> None:
    command = typer.main.get_command(app).commands[name]
    for words in EXAMPLES[name]:
        assert words.split()[0] == name
        command.make_context(name, words.split()[1:])
    assert f"bridgerec {EXAMPLES[name][0]}"[:60] in CliRunner().invoke(app, [name, "--help"]).stdout


def test_an_error_is_one_message_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    found = call("stage", "prepare", "-C", str(tmp_path))
    assert found.returncode == 2
    assert "params.yaml does not exist" in found.stderr
    assert "bridgerec init" in found.stderr
    assert "Traceback" not in found.stderr
    assert "Traceback" in call("stage", "prepare", "-C", str(tmp_path), "--debug").stderr


def test_wrong_keys_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("data: {domains: {}}\nspeed: 3\nmodels: {}\n")
    with pytest.raises(ConfigError, match="wrong keys") as error:
        load_params(tmp_path / "params.yaml")
    assert "speed" in str(error.value)
    assert "candidates" in str(error.value)


def test_init_makes_a_workspace_that_dvc_reads(small_workspace: Workspace, tmp_path: Path) -> None:
    from bridgerec.cli.init import create
    from bridgerec.pipeline.graph import stages

    tables = {
        d: (tmp_path / "data" / d / "interactions.csv", tmp_path / "data" / d / "items.csv")
        for d in ("left", "right")
    }
    root = tmp_path / "new"
    create(root, tables, ("left",))
    params = Workspace.open(root).params
    assert params.target_domains == ("left",)
    rows = pl.read_parquet(root / params.data.domains["left"].interactions)
    assert rows.height == 300
    assert (root / "data.dvc").is_file()
    assert "package" in stages(root)
    with pytest.raises(ConfigError, match="exists already"):
        create(root, tables, ())


def test_init_refuses_a_table_without_the_standard_columns(tmp_path: Path) -> None:
    from bridgerec.cli.init import create

    pl.DataFrame({"who": ["a"], "what": ["b"]}).write_csv(tmp_path / "x.csv")
    pl.DataFrame({"item_id": ["b"], "title": ["t"]}).write_csv(tmp_path / "y.csv")
    with pytest.raises(DataError, match="user_id"):
        create(tmp_path / "new", {"one": (tmp_path / "x.csv", tmp_path / "y.csv")}, ())
    assert not (tmp_path / "new" / "params.yaml").exists()


def test_doctor_knows_this_environment() -> None:
    found = call("doctor", cwd=Path(__file__).parents[2])
    assert found.returncode == 0, found.stdout + found.stderr
    assert "torch" in found.stdout


def test_doctor_says_where_int8_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bridgerec.cli.doctor import check_workspace

    params = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    params["embed"]["text"]["precision"] = "int8"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))

    def warned() -> bool:
        found = list(check_workspace(Workspace.open(tmp_path)))
        return any("float32, which is slower" in f.message for f in found)

    monkeypatch.setattr("bridgerec.encoders.int8.has_products", lambda: True)
    assert not warned()
    monkeypatch.setattr("bridgerec.encoders.int8.has_products", lambda: False)
    assert warned()
