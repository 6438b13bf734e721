"""Images that a catalogue names and that are not there."""

import shutil

import polars as pl

from bridgerec.config import Workspace
from bridgerec.validation.run import validate
from helpers import REPOSITORY


def test_images_that_do_not_exist_are_a_warning_with_examples(small_workspace: Workspace) -> None:
    shutil.copytree(REPOSITORY / "expectations", small_workspace.expectations)
    path = small_workspace.root / "data" / "left" / "items.csv"
    items = pl.read_csv(path)
    (path.parent / "there.png").write_bytes(b"")
    images = ["there.png", "gone.png", "https://example.org/a.png", "  ", None]
    images += [None] * (items.height - 5)
    items.with_columns(pl.Series("image", images)).write_csv(path)
    found = [f for f in validate(small_workspace)["findings"] if f["check"] == "missing_images"]
    assert [(f["domain"], f["severity"], f["count"], f["total"]) for f in found] == [
        ("left", "warning", 2, 3)
    ]
    assert found[0]["examples"] == [
        {"row": 2, "item_id": "l01", "image": "gone.png"},
        {"row": 3, "item_id": "l02", "image": "https://example.org/a.png"},
    ]
