"""The evaluate stage on small tables: who is asked, and what the report says of it."""

import numpy as np
import polars as pl
import pytest
import yaml
from safetensors.numpy import save_file

from bridgerec.config import Workspace
from bridgerec.data.dataset import Cases, Histories
from bridgerec.pipeline.stages import run_stage
from bridgerec.runtime import read_json

FILE = "vectors.safetensors"


def asked_at_most(workspace: Workspace, most: int) -> Workspace:
    path = workspace.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params.setdefault("evaluation", {})["max_cases"] = most
    path.write_text(yaml.safe_dump(params))
    return Workspace.open(workspace.root)


def people(workspace: Workspace) -> pl.DataFrame:
    per_user = pl.read_parquet(workspace.reports / "evaluation" / "per_user.parquet")
    return per_user.drop("known", "candidate", "split")


def test_of_many_people_a_draw_is_asked(small_workspace: Workspace) -> None:
    run_stage(small_workspace, "prepare", None, lambda _: None)
    items = pl.read_parquet(small_workspace.prepared / "items.parquet").height
    small_workspace.vectors.mkdir(parents=True)
    save_file({"vectors": np.eye(items, 4, dtype=np.float32)}, small_workspace.vectors / FILE)
    for stage in ("train", "blend", "evaluate"):
        run_stage(small_workspace, stage, "popularity", lambda _: None)
    whole, everybody = (
        people(small_workspace),
        read_json(small_workspace.reports / "evaluation" / "metrics.json"),
    )
    assert "drawn_from" not in everybody["info"]
    few = asked_at_most(small_workspace, 4)
    run_stage(few, "evaluate", None, lambda _: None)
    info = read_json(few.reports / "evaluation" / "metrics.json")["info"]
    for part, splits in everybody["info"]["people"].items():
        for split, targets in splits.items():
            for target, sizes in targets.items():
                assert sizes["all"] > 4
                assert info["people"][part][split][target]["all"] == 4
                assert info["drawn_from"][part][split][target] == sizes["all"]
    drawn = people(few)
    # the values of those who are asked are what they were
    assert len(drawn.join(whole, on=drawn.columns, how="semi")) == len(drawn) < len(whole)
    assert "a draw of the" in (few.reports / "evaluation" / "index.html").read_text()


@pytest.mark.parametrize(("most", "kept"), [(3, 3), (5, 5), (9, 5)])
def test_a_draw_keeps_rows_together(most: int, kept: int) -> None:
    histories = Histories.of([[i] * i for i in range(5)])
    relevant = Histories.of([[10 + i] for i in range(5)])
    drawn = Cases("left", np.arange(5), histories, relevant).sample(most, seed=1)
    assert len(drawn) == kept
    assert drawn.histories.lengths.tolist() == drawn.users.tolist()
    assert (drawn.relevant.items - 10).tolist() == drawn.users.tolist()
    assert drawn.users.tolist() == sorted(set(drawn.users.tolist()))
