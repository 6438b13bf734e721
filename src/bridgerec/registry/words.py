"""The part of a bundle that turns new words into item vectors: the items' vectors, the whitening,
and a record of the encoder."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bridgerec.config import Encoder, Workspace
from bridgerec.data.vectors import read_vectors
from bridgerec.encoders.text import TextEncoder
from bridgerec.errors import ArtifactError, BridgeRecError
from bridgerec.runtime import file_hash, read_json, write_json


def write_words(workspace: Workspace, folder: Path) -> None:
    """Write `vectors.safetensors` (float16), `whitening.safetensors` and `encoder.json` into a
    bundle that has its catalogue.

    An encoder that is a folder (also a fine-tuned one) goes along as `encoder/`; one of a package
    or a hub is named, and has to be installed where the service runs.

    Raises:
        ArtifactError: the embed stage's output is missing or of another catalogue, or the
            encoder's folder is gone.
    """
    from safetensors.numpy import save_file

    items = pl.read_parquet(folder / "catalogue.parquet", columns=["domain"])
    vectors = read_vectors(workspace, items.height)
    save_file({"vectors": vectors.astype(np.float16)}, folder / "vectors.safetensors")
    shutil.copy(workspace.vectors / "whitening.safetensors", folder)
    config = workspace.params.embed
    encoder, weights = _encoder(workspace, folder)
    record: dict[str, Any] = {
        "encoder": encoder.model_dump(mode="json"),
        "weights": weights,
        "fields": list(config.fields),
        "max_characters": config.max_characters,
        "domains": items["domain"].unique(maintain_order=True).to_list(),
        "size": int(vectors.shape[1]),
    }
    parts = [f"{weights}", encoder.model_dump_json(), file_hash(folder / "whitening.safetensors")]
    record["space"] = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    write_json(folder / "encoder.json", record)


def _encoder(workspace: Workspace, folder: Path) -> tuple[Encoder, str | None]:
    """How the items were embedded, and the hash of the weights (None: they are not here)."""
    config = workspace.params.embed.text
    tuned = read_json(workspace.vectors / "encoder.json").get("finetune", {}).get("folder")
    if tuned is not None:
        config = config.model_copy(update={"model": tuned, "sha256": None})
    place = workspace.root / config.model
    if not config.model.startswith("package:") and place.is_dir():
        shutil.copytree(place, folder / "encoder")
        config = config.model_copy(update={"model": "encoder"})
    elif tuned is not None:
        raise ArtifactError(f"{place} does not exist. Run the embed stage again.")
    try:
        return config, TextEncoder(config, folder).weights
    except BridgeRecError:
        return config, None  # embedded elsewhere; the service says what is missing
