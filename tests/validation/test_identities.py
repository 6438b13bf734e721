"""The mapping of accounts to people."""

import shutil

import polars as pl
import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.validation.run import validate
from helpers import REPOSITORY, small_params


@pytest.mark.parametrize("domain", ["left", "right"])
def test_accounts_that_are_taken_for_another_account_are_told(
    small_workspace: Workspace, domain: str
) -> None:
    shutil.copytree(REPOSITORY / "expectations", small_workspace.expectations)
    rows = [{"domain": domain, "user_id": f"u{n}", "person_id": f"p{n}"} for n in range(10, 50)]
    rows[2]["person_id"], rows[5]["person_id"] = "u01", "u55"  # accounts of left, and of right
    pl.DataFrame(rows).write_csv(small_workspace.root / "data" / "who.csv")
    params = small_params()
    params["data"]["identities"] = "data/who.csv"  # type: ignore[index]
    params["validation"] = {"min_overlapping_users": 0}
    (small_workspace.root / "params.yaml").write_text(yaml.safe_dump(params))
    workspace = Workspace.open(small_workspace.root)
    found = [f for f in validate(workspace)["findings"] if f["check"] == "unlisted_accounts"]
    # the other domain's accounts are meant by a mapping that lists none of them
    taken, listed = ("u01", "u12") if domain == "left" else ("u55", "u15")
    assert [(f["domain"], f["severity"], f["count"], f["total"]) for f in found] == [
        (domain, "warning", 1, 50)
    ]
    assert found[0]["examples"] == [{"user_id": taken, "the same person as": f"{domain}/{listed}"}]
    assert "data/who.csv" in found[0]["message"]
