"""The train stage."""

import torch
import yaml

from bridgerec.config import Workspace
from bridgerec.data.prepare import prepare
from bridgerec.pipeline.embed import embed
from bridgerec.pipeline.train import train
from bridgerec.runtime import file_hash


def test_fits_side_by_side_are_those_one_after_the_other(small_workspace: Workspace) -> None:
    path = small_workspace.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["models"]["two_tower"] = {"use": "bridgerec.models.two_tower:TwoTower", "epochs": 1}
    path.write_text(yaml.safe_dump(params))
    prepare(small_workspace)
    embed(small_workspace, lambda _: None)
    before, hashes = torch.get_num_threads(), set()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            said: list[str] = []
            train(small_workspace, "two_tower", said.append)
            hashes.add(file_hash(small_workspace.candidate("two_tower")))
            assert len(said) > 1
    finally:
        torch.set_num_threads(before)
    assert len(hashes) == 1
