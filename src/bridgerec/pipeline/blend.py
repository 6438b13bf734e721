"""The blend stage: weights over the trained candidates, learned on validation."""

import os
from collections.abc import Callable
from pathlib import Path

from bridgerec.config import BLEND, Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.errors import ArtifactError, ConfigError
from bridgerec.models.base import check_catalogue, load
from bridgerec.models.blend import Blend, BlendConfig
from bridgerec.progress import bar
from bridgerec.runtime import atomic_folder, read_json


def blend(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Write `artifacts/blend/SPLIT/seed-I/` for every split, and for every seed of its members.

    With `blend: null` in params.yaml the folder stays empty.

    Raises:
        ArtifactError: a member is not trained, or of another catalogue.
        ConfigError: an option is unknown or out of its range.
    """
    params, place = workspace.params, workspace.candidate(BLEND)
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    described = read_json(workspace.prepared / "splits.json")
    with atomic_folder(place) as folder, bar("splits blended", len(described)) as advance:
        if params.blend is None:
            return
        names = params.blend.members or params.candidates
        for split_name in described:
            split = Split.read(workspace.prepared, split_name, catalogue)
            training = split.training()
            asked = [split.cases("validation", target) for target in split.targets]
            trained = {n: _seeds(workspace.candidate(n) / split_name) for n in names}
            for i in range(max(map(len, trained.values()))):
                own = place / split_name / f"seed-{i}"
                paths = {n: seeds[min(i, len(seeds) - 1)] for n, seeds in trained.items()}
                members = {n: load(path) for n, path in paths.items()}
                for member in members.values():
                    check_catalogue(member, catalogue)
                try:
                    config = BlendConfig(
                        members={n: os.path.relpath(path, own) for n, path in paths.items()},
                        **params.blend.options,
                    )
                except ValueError as error:
                    raise ConfigError(f"blend.options: {error}") from error
                found = Blend(config, params.seed + i)
                found.learn(members, training, asked)
                found.save(folder / split_name / f"seed-{i}")
                say(f"blend on {split_name}, seed {i}: {', '.join(found.members)}")
            advance(1)


def _seeds(folder: Path) -> list[Path]:
    found = sorted(folder.glob("seed-*"))
    if not found:
        raise ArtifactError(f"{folder} holds no trained model; run the train stage again.")
    return found
