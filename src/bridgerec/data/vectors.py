"""The item vectors of the embed stage."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.data.dataset import Images
from bridgerec.errors import ArtifactError


def read_vectors(workspace: Workspace, n_items: int) -> NDArray[np.float32]:
    """The item vectors of the embed stage, shape (n_items, size).

    Raises:
        ArtifactError: missing, damaged, or of another catalogue.
    """
    (vectors,) = _read(workspace.vectors / "vectors.safetensors", ("vectors",), n_items)
    return vectors


def read_images(workspace: Workspace, n_items: int) -> Images | None:
    """The vectors of images, or None where the embed stage made none.

    Raises:
        ArtifactError: damaged, or of another catalogue.
    """
    path = workspace.vectors / "images.safetensors"
    if not path.exists():
        return None
    return Images(*_read(path, ("image", "image_present"), n_items))


def _read(path: Path, names: tuple[str, ...], n_items: int) -> list[NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        stored = load_file(path)
        found = [stored[name] for name in names]
    except (OSError, SafetensorError, KeyError) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}). Run the embed stage again."
        ) from error
    for array in found:
        if len(array) != n_items:
            raise ArtifactError(
                f"{path} has {len(array)} vectors for {n_items} items. Run the embed stage again."
            )
    return found
