"""The train stage: one candidate, every split and seed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.data.vectors import read_images, read_vectors
from bridgerec.models.base import build
from bridgerec.pipeline.workers import side_by_side
from bridgerec.progress import bar
from bridgerec.runtime import atomic_folder, read_json
from bridgerec.training.device import training_device


@dataclass(frozen=True)
class Fit:
    """One training: on which split, from which seed, and where the model goes."""

    split: str
    seed: int
    folder: Path


def train(workspace: Workspace, name: str, say: Callable[[str], None]) -> None:
    """Write `artifacts/candidates/NAME/SPLIT/seed-I/` for every split and seed.

    The fits of a candidate that trains for minutes (`slow`) run side by side, as many as PyTorch
    has threads: two fits on a core each are done sooner than one after the other on both.
    """
    params = workspace.params
    candidate = build(name, params.models[name])
    seeds = params.evaluation.seeds if candidate.random else 1
    with atomic_folder(workspace.candidate(name)) as folder:
        splits = read_json(workspace.prepared / "splits.json")
        fits = [Fit(s, i, folder / s / f"seed-{i}") for s in splits for i in range(seeds)]
        begin = partial(_Fits, workspace, name)
        with bar(f"{name}: models trained", len(fits)) as advance:
            for fit, _ in side_by_side(begin, _Fits.run, fits, alone=not candidate.slow):
                seed = f", seed {fit.seed}" if candidate.random else ""
                say(f"{name} on {fit.split}{seed}: trained")
                advance(1)


class _Fits:
    """What the fits of one process share."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace, self.name = workspace, name
        self.catalogue = Catalogue.read(workspace.prepared / "items.parquet")
        self.vectors = read_vectors(workspace, len(self.catalogue))
        self.images = read_images(workspace, len(self.catalogue))
        self.device = training_device(workspace.params.train.device)

    def run(self, fit: Fit) -> None:
        split = Split.read(self.workspace.prepared, fit.split, self.catalogue)
        training = replace(
            split.training(), vectors=self.vectors, images=self.images, device=self.device
        )
        params = self.workspace.params
        candidate = build(self.name, params.models[self.name], params.seed + fit.seed)
        candidate.train(training)
        candidate.save(fit.folder)
