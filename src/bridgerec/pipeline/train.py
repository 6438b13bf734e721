"""The train stage: one candidate, every split."""

from collections.abc import Callable
from dataclasses import replace

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.data.vectors import read_images, read_vectors
from bridgerec.models.base import build
from bridgerec.progress import bar
from bridgerec.runtime import atomic_folder, read_json
from bridgerec.training.device import training_device


def train(workspace: Workspace, name: str, say: Callable[[str], None]) -> None:
    """Write `artifacts/candidates/NAME/SPLIT/seed-I/` for every split and seed."""
    params = workspace.params
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    vectors = read_vectors(workspace, len(catalogue))
    images = read_images(workspace, len(catalogue))
    device = training_device(params.train.device)
    random = build(name, params.models[name]).random
    with atomic_folder(workspace.candidate(name)) as folder:
        names = read_json(workspace.prepared / "splits.json")
        seeds = params.evaluation.seeds if random else 1
        with bar(f"{name}: models trained", len(names) * seeds, terminal=False) as advance:
            for split_name in names:
                split = Split.read(workspace.prepared, split_name, catalogue)
                training = replace(split.training(), vectors=vectors, images=images, device=device)
                for i in range(seeds):
                    say(f"{name} on {split_name}" + (f", seed {i}" if random else ""))
                    candidate = build(name, params.models[name], params.seed + i)
                    candidate.train(training)
                    candidate.save(folder / split_name / f"seed-{i}")
                    advance(1)
