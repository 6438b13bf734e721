"""A catalogue that tells the language of some items alone."""

import shutil

import polars as pl
import pytest

from bridgerec.config import Workspace
from bridgerec.validation.run import validate
from helpers import REPOSITORY


@pytest.mark.parametrize("languages", [[None], ["en"], ["en", " ", None], ["en", "-", ""]])
def test_some_items_without_a_language_are_a_warning(
    small_workspace: Workspace, languages: list[str | None]
) -> None:
    shutil.copytree(REPOSITORY / "expectations", small_workspace.expectations)
    path = small_workspace.root / "data" / "left" / "items.csv"
    items = pl.read_csv(path)
    told = pl.Series("language", [languages[i % len(languages)] for i in range(items.height)])
    items.with_columns(told).write_csv(path)
    found = [f for f in validate(small_workspace)["findings"] if f["check"] == "missing_languages"]
    if len(languages) == 1:  # of none or of all
        assert not found
        return
    silent = items.height - int((told == "en").sum())
    assert [(f["domain"], f["severity"], f["count"], f["total"]) for f in found] == [
        ("left", "warning", silent, items.height)
    ]
    assert [(e["row"], e["item_id"]) for e in found[0]["examples"][:2]] == [(2, "l01"), (3, "l02")]
