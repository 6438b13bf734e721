"""`bridgerec evaluation`, over what the evaluate stage wrote."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridgerec.cli.app import app
from bridgerec.config import Workspace
from bridgerec.runtime import write_json


def results(root: Path, ks: tuple[int, ...]) -> Path:
    """A metrics.json of two candidates; `second` is the better one."""
    names = ("ndcg", "recall", "precision", "f1", "hr")

    def cells(value: float) -> dict[str, Any]:
        cell = {"value": value, "low": value - 0.01, "high": value + 0.01}
        return {"films": {"all": {f"{name}@{k}": cell for name in names for k in ks}}}

    test = {"temporal": {"first": cells(0.1234), "second": cells(0.4321)}}
    path = Workspace.open(root).reports / "evaluation" / "metrics.json"
    write_json(path, {"info": {"ks": list(ks)}, "test": test})
    return path


def test_json_is_the_file(tmp_path: Path) -> None:
    path = results(tmp_path, (5, 10))
    found = CliRunner().invoke(app, ["evaluation", "--json", "-C", str(tmp_path)])
    assert found.exit_code == 0
    assert found.stdout == path.read_text()


@pytest.mark.parametrize(("ks", "shown"), [((5, 10, 20), 10), ((5, 20), 20), ((3,), 3)])
def test_the_table_is_of_a_k_that_was_measured(
    tmp_path: Path, ks: tuple[int, ...], shown: int
) -> None:
    results(tmp_path, ks)
    write_json(
        tmp_path / "reports" / "decision.json",
        {"winner": "second", "routes": {"warm": "second"}, "reasons": ["it is better"]},
    )
    found = CliRunner().invoke(app, ["evaluation", "-C", str(tmp_path)])
    assert found.exception is None
    assert f"ndcg@{shown}" in found.stdout
    assert found.stdout.index("0.4321") < found.stdout.index("0.1234")  # the best first
    assert "warm people: second" in found.stdout
    assert "it is better" in found.stdout


def test_without_results_it_says_what_to_run(tmp_path: Path) -> None:
    for words in (["evaluation"], ["evaluation", "--json"]):
        found = CliRunner().invoke(app, [*words, "-C", str(tmp_path)])
        assert "bridgerec run evaluate" in str(found.exception)
