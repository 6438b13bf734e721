"""The bundle: everything the service needs to answer, and the hashes that tie it together."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bridgerec.config import Workspace
from bridgerec.data.stored import read_stored
from bridgerec.errors import ArtifactError
from bridgerec.registry.evidence import evidence
from bridgerec.runtime import file_hash, read_json, write_json

PARTS = (
    "models",
    "catalogue.parquet",
    "histories.safetensors",
    "users.parquet",
    "accounts.parquet",
    "evaluation.json",
    "vectors.safetensors",
    "whitening.safetensors",
    "encoder.json",
    "encoder",
    "pictures.zip",
)


def write_bundle(
    workspace: Workspace,
    folder: Path,
    dossier: dict[str, Any],
    prepare: Callable[[Path], None] | None = None,
) -> None:
    """Collect the champion's models, the catalogue, everybody's history and what embeds new words
    in `folder`; `prepare` adds what serving computes once, before all is hashed.

    Raises:
        ArtifactError: an input is missing, or the champion belongs to another catalogue.
    """
    from safetensors.numpy import save_file

    from bridgerec.registry.pictures import write_pictures
    from bridgerec.registry.words import write_words

    champion = read_json(workspace.champion / "champion.json")
    items = workspace.prepared / "items.parquet"
    if champion["catalogue_sha256"] != file_hash(items):
        raise ArtifactError(
            "the champion was trained with another catalogue than artifacts/prepared holds. "
            "Run the pipeline again."
        )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(workspace.champion / "models", folder / "models")
    shutil.copy(items, folder / "catalogue.parquet")
    for name in ("users.parquet", "accounts.parquet"):
        shutil.copy(workspace.prepared / name, folder / name)
    rows = read_stored(workspace.prepared / "interactions.parquet")
    n_users = read_stored(workspace.prepared / "users.parquet", pl.len()).item()
    lengths = np.bincount(rows["user"].to_numpy(), minlength=n_users)
    stored = {
        "indptr": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "items": rows["item"].to_numpy().astype(np.int32),
        "weights": rows["weight"].to_numpy().astype(np.float32),
    }
    if "timestamp" in rows.columns:
        stored["timestamp"] = rows["timestamp"].to_numpy().astype(np.int64)
    if "event_kind" in rows.columns:
        stored["event_kind"] = rows["event_kind"].to_numpy()
    save_file(stored, folder / "histories.safetensors")
    write_words(workspace, folder)
    write_pictures(workspace, folder)
    write_json(folder / "evaluation.json", evidence(workspace))
    write_json(folder / "dossier.json", dossier)
    if prepare is not None:
        prepare(folder)
    service = workspace.params.service.model_dump(mode="json")
    hashes = {name: file_hash(folder / name) for name in PARTS if (folder / name).exists()}
    write_json(
        folder / "manifest.json",
        {
            "release": dossier["release"],
            "sha256": hashes,
            "service": service,
            "champion": champion,
            "event_kinds": _event_kinds(workspace),
        },
    )


def _event_kinds(workspace: Workspace) -> dict[str, float]:
    """What each kind of event weighs, by the order of their numbers."""
    split = next(iter(read_json(workspace.prepared / "splits.json").values()))
    weights = workspace.params.prepare.event_weights
    return {kind: weights.get(kind, 1.0) for kind in split.get("event_kinds", ())}


def check_bundle(folder: Path) -> dict[str, Any]:
    """The manifest, after every part was compared with its hash.

    Raises:
        ArtifactError: a part is missing or was changed.
    """
    try:
        manifest: dict[str, Any] = read_json(folder / "manifest.json")
        for name, expected in manifest["sha256"].items():
            if not (folder / name).exists() or file_hash(folder / name) != expected:
                raise ArtifactError(
                    f"{name} of the bundle {folder} is missing or was changed since it was "
                    "packaged. Package or copy the release again."
                )
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(f"{folder} holds no readable bundle ({error}).") from error
    return manifest


def find_bundle(bento: Path) -> Path:
    """The bundle inside a Bento's folder.

    Raises:
        ArtifactError: there is no Bento.
    """
    folder = bento / "src" / "bundle"
    if not (bento / "bento.yaml").is_file() or not folder.is_dir():
        raise ArtifactError(f"{bento} holds no Bento. Run the pipeline first (`bridgerec run`).")
    return folder
