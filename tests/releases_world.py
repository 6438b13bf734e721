"""Kept releases that are no more than their files."""

from pathlib import Path
from typing import Any

from bridgerec.registry.store import Release, Store
from bridgerec.runtime import write_json


def kept(root: Path, name: str, number: int, allowed: bool = True) -> Release:
    """A release with a bundle of no parts; `number` orders them in time."""
    folder = root / "releases" / name
    bundle = folder / "bento" / "src" / "bundle"
    write_json(bundle / "manifest.json", {"release": name, "sha256": {}})
    (folder / "bento" / "bento.yaml").write_text("name: x\n")
    decision: dict[str, Any] = {"winner": "ease", "metric": "ndcg@10", "routes": {"warm": "ease"}}
    decision["candidates"] = {"warm": {"ease": {"value": 0.25}}}
    dossier = {"release": name, "data_hash": f"data{number}", "decision": decision}
    write_json(folder / "dossier.json", {**dossier, "overrides": []})
    write_json(folder / "decision.json", decision)
    reasons = [] if allowed else ["refused: too weak"]
    write_json(folder / "verdict.json", {"allowed": allowed, "reasons": reasons})
    write_json(folder / "record.json", {"release": name, "kept": f"2026-01-0{number}"})
    return Store(root / "releases").find(name)
