"""The train stage: one candidate, every split."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.errors import ArtifactError
from bridgerec.models.base import build
from bridgerec.runtime import atomic_folder, read_json


def read_vectors(workspace: Workspace, n_items: int) -> NDArray[np.float32]:
    """The item vectors of the embed stage, shape (n_items, size).

    Raises:
        ArtifactError: missing, damaged, or of another catalogue.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = workspace.vectors / "vectors.safetensors"
    try:
        vectors: NDArray[np.float32] = load_file(path)["vectors"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}). Run the embed stage again."
        ) from error
    if len(vectors) != n_items:
        raise ArtifactError(
            f"{path} has {len(vectors)} vectors for {n_items} items. Run the embed stage again."
        )
    return vectors


def train(workspace: Workspace, name: str, say: Callable[[str], None]) -> None:
    """Write `artifacts/candidates/NAME/SPLIT/seed-I/` for every split and seed."""
    params = workspace.params
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    vectors = read_vectors(workspace, len(catalogue))
    random = build(name, params.models[name]).random
    with atomic_folder(workspace.candidate(name)) as folder:
        for split_name in read_json(workspace.prepared / "splits.json"):
            split = Split.read(workspace.prepared, split_name, catalogue)
            training = replace(split.training(), vectors=vectors)
            for i in range(params.evaluation.seeds if random else 1):
                say(f"{name} on {split_name}" + (f", seed {i}" if random else ""))
                candidate = build(name, params.models[name], params.seed + i)
                candidate.train(training)
                candidate.save(folder / split_name / f"seed-{i}")
