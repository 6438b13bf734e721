"""The item vectors of the embed stage."""

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError


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
