"""The dossier: every hash and number between the raw rows and the release."""

import hashlib
import platform
from importlib.metadata import version
from typing import Any

import yaml

from bridgerec.config import Workspace
from bridgerec.runtime import file_hash, read_json

LIBRARIES = (
    "bridgerec", "bentoml", "dvc", "evidently", "faiss-cpu", "great-expectations", "numpy",
    "polars", "prefect", "pydantic", "safetensors", "scipy", "torch", "transformers",
)  # fmt: skip
# of params.yaml: they do not decide what a release is, and the dossier is shown to every reader
# while a webhook's address is a secret
NOT_QUOTED = {"monitoring", "tune"}


def data_hash(workspace: Workspace) -> str:
    """DVC's hash of data/, or (without data.dvc) the sha256 of its files."""
    path = workspace.root / "data.dvc"
    if path.is_file():
        return str(yaml.safe_load(path.read_text())["outs"][0]["md5"])
    return file_hash(workspace.root / "data")


def lock_hash(workspace: Workspace) -> str | None:
    """sha256 over dvc.lock without the package stage, which the packaging itself changes."""
    path = workspace.root / "dvc.lock"
    if not path.is_file():
        return None
    stages = yaml.safe_load(path.read_text()).get("stages", {})
    stages.pop("package", None)
    return hashlib.sha256(yaml.safe_dump(stages, sort_keys=True).encode()).hexdigest()


def write_dossier(workspace: Workspace) -> dict[str, Any]:
    """All there is to know about the release; `release` is a short hash of the rest."""
    champion = read_json(workspace.champion / "champion.json")
    metrics = read_json(workspace.reports / "evaluation" / "metrics.json")
    decision = read_json(workspace.reports / "decision.json")
    splits = read_json(workspace.prepared / "splits.json")
    headline = {
        candidate: {
            split: {
                target: {
                    m: segments["all"][m]
                    for m in ("ndcg@10", "recall@10", "precision@10", "f1@10")
                    if m in segments["all"]
                }
                for target, segments in found[candidate].items()
            }
            for split, found in metrics["test"].items()
        }
        for candidate in sorted(set(champion["routes"].values()))
    }
    encoder = read_json(workspace.vectors / "encoder.json")
    dossier: dict[str, Any] = {
        "champion": champion,
        "data_hash": data_hash(workspace),
        "split_hashes": {name: info["hash"] for name, info in splits.items()},
        "dvc_lock_hash": lock_hash(workspace),
        "params": workspace.params.model_dump(mode="json", exclude=NOT_QUOTED),
        "test_metrics": headline,
        "decision": decision,
        "encoder": encoder,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }
    text = yaml.safe_dump(dossier, sort_keys=True)
    return {"release": hashlib.sha256(text.encode()).hexdigest()[:12], **dossier}
