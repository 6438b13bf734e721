"""`bridgerec doctor` on machines and environments that are not fit."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridgerec.cli import doctor as module
from bridgerec.cli.app import app
from bridgerec.cli.doctor import check_machine, check_versions
from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.runtime import prepare_environment

PAIRS = {
    "pandas": ("3.1.0", "evidently 0.7"),
    "fastapi": ("0.155.0", "prefect 3.8's server"),
    "sqlalchemy": ("2.1.0b1", "creates no runs"),
    "torch": ("2.14.0+cpu", "not tested"),
}
Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("name", PAIRS)
def test_a_known_bad_pair_is_a_problem(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, reason = PAIRS[name]
    true = module.version
    monkeypatch.setattr(module, "version", lambda asked: found if asked == name else true(asked))
    [problem] = [f for f in check_versions() if f.level == "problem"]
    assert problem.subject == name
    assert problem.message.startswith(found)
    assert reason in problem.message
    assert "install < " in problem.message


def test_an_old_or_missing_package_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "dvc":
            raise module.PackageNotFoundError(name)
        return {"prefect": "3.8.7"}.get(name, "3.9.9" if name != "pandas" else "2.3.0")

    monkeypatch.setattr(module, "version", version)
    monkeypatch.setattr(module, "TOO_NEW", ())
    told = {f.subject: f.message for f in check_versions() if f.level == "problem"}
    assert told["prefect"] == "3.8.7 is too old; install >= 3.8.8"
    assert "pip install bridgerec" in told["dvc"]
    assert "transformers" in told


def machine(root: Path) -> dict[str, tuple[str, str]]:
    return {f.subject: (f.level, f.message) for f in check_machine(Workspace.open(root))}


@pytest.mark.parametrize(("free", "level"), [(9e9, "ok"), (4.9e9, "warning"), (0.9e9, "problem")])
def test_low_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, level: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1e10, 0, free))
    assert machine(tmp_path)["disk"] == (
        level, f"{free / 1e9:.1f} GB free in the workspace (a run needs 1–5 GB)",
    )  # fmt: skip


def test_threads_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE"):
        monkeypatch.delenv(name, raising=False)
    found = machine(tmp_path)
    assert found["OMP_WAIT_POLICY"][0] == "warning"
    assert "not set" in found["OMP_WAIT_POLICY"][1]
    assert not {"OMP_NUM_THREADS", "OPENBLAS_CORETYPE"} & found.keys()
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "is active" in machine(tmp_path)["OMP_WAIT_POLICY"][1]
    monkeypatch.delenv("OMP_WAIT_POLICY")
    prepare_environment()  # as every command does
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    found = machine(tmp_path)
    assert found["OMP_WAIT_POLICY"][0] == "ok"
    assert found["OMP_NUM_THREADS"][0] == found["OPENBLAS_CORETYPE"][0] == "warning"
    assert "4096" in found["OMP_NUM_THREADS"][1]
    assert "Haswell" in found["OPENBLAS_CORETYPE"][1]


def test_a_problem_ends_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1e10, 0, 1e6))
    found = CliRunner().invoke(app, ["doctor", "-C", str(tmp_path)])
    assert isinstance(found.exception, BridgeRecError)
    assert "1 problem(s)" in str(found.exception)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["doctor", "-C", str(tmp_path / "nope")])
    assert isinstance(found.exception, ConfigError)
    assert str(tmp_path / "nope") in str(found.exception)
