"""The kept releases: a folder each, written as a whole and never rewritten.

releases/ID/bento/          what is served
releases/ID/judged/         the models as the gate saw them: before they took in the rows by
                            which they were judged, so that a later gate compares fairly
releases/ID/dossier.json    the Bento's own, and `overrides`, which people add
releases/ID/decision.json   what the gate found
releases/ID/verdict.json    what the release flow found
releases/ID/record.json     when it was kept, and the hash of the whole Bento
releases/current.json       see `registry.current`
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.data.stored import read_stored
from bridgerec.errors import ArtifactError, ConfigError
from bridgerec.models.base import load
from bridgerec.models.blend import Blend
from bridgerec.registry.bundle import find_bundle
from bridgerec.runtime import atomic_folder, file_hash, read_json, write_json


def now() -> str:
    """This moment, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Release:
    """One kept release."""

    id: str
    folder: Path

    @property
    def bento(self) -> Path:
        return self.folder / "bento"

    @property
    def judged(self) -> Path:
        return self.folder / "judged"

    def read(self, name: str) -> dict[str, Any]:
        """`dossier`, `decision`, `verdict` or `record`.

        Raises:
            ArtifactError: the file is missing.
        """
        path = self.folder / f"{name}.json"
        if not path.is_file():
            raise ArtifactError(f"{path} is missing: the release {self.id} is not whole.")
        found: dict[str, Any] = read_json(path)
        return found

    @cached_property
    def dossier(self) -> dict[str, Any]:
        return self.read("dossier")

    @property
    def verdict(self) -> dict[str, Any]:
        return self.read("verdict")


@dataclass(frozen=True)
class Store:
    """The folder `releases/` of a workspace."""

    root: Path

    @classmethod
    def of(cls, workspace: Workspace) -> "Store":
        return cls(workspace.releases)

    def all(self) -> list[Release]:
        """Every kept release, the oldest first."""
        found = [Release(p.parent.name, p.parent) for p in self.root.glob("[!.]*/record.json")]
        return sorted(found, key=lambda r: (r.read("record")["kept"], r.id))

    def find(self, text: str) -> Release:
        """The release of an id, or of the beginning of one.

        Raises:
            ConfigError: there is none, or several begin so.
        """
        found = [r for r in self.all() if r.id.startswith(text)] if text else []
        exact = [r for r in found if r.id == text] or found
        if len(exact) == 1:
            return exact[0]
        if found:
            raise ConfigError(
                f"release {text!r}: {', '.join(r.id for r in found)} begin so. Write more of it."
            )
        known = ", ".join(r.id for r in self.all()) or "none yet; run the release flow"
        raise ConfigError(f"there is no release {text!r} in {self.root}. Kept are: {known}.")

    def keep(self, workspace: Workspace, verdict: Mapping[str, Any]) -> Release:
        """Copy the workspace's Bento, with what was decided about it.

        One that is kept already stays as it is, but for the newest verdict.

        Raises:
            ArtifactError: there is no Bento, it is of another run than the decision, or the same
                id is kept with other bytes.
        """
        dossier = read_json(find_bundle(workspace.bento) / "dossier.json")
        decision = read_json(workspace.reports / "decision.json")
        if decision != dossier["decision"]:
            raise ArtifactError(
                f"{workspace.bento} was packaged after another decision than "
                f"{workspace.reports / 'decision.json'} holds. Run `bridgerec run package`."
            )
        release = Release(dossier["release"], self.root / dossier["release"])
        digest = file_hash(workspace.bento)
        if (release.folder / "record.json").is_file():
            if release.read("record")["bento_sha256"] != digest:
                raise ArtifactError(
                    f"{release.folder} keeps a release of the same id with other bytes: the code "
                    "of BridgeRec changed in between. Delete that folder if it was never served, "
                    "or change params.yaml or the data so that the new one gets its own id."
                )
            write_json(release.folder / "verdict.json", dict(verdict))
            return release
        with atomic_folder(release.folder) as folder:
            shutil.copytree(workspace.bento, folder / "bento")
            keep_judged(workspace, decision, folder / "judged")
            write_json(folder / "dossier.json", {**dossier, "overrides": []})
            write_json(folder / "decision.json", decision)
            write_json(folder / "verdict.json", dict(verdict))
            write_json(
                folder / "record.json",
                {
                    "release": release.id,
                    "candidate": decision["winner"],
                    "bento_sha256": digest,
                    "kept": now(),
                },
            )
        return release


def keep_judged(workspace: Workspace, decision: Mapping[str, Any], folder: Path) -> None:
    """Write the models by which the routes were decided to `folder`/SPLIT/CANDIDATE, and beside
    them, in `hidden.parquet`, who was asked there and so had rows that they did not learn from."""
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    users = read_stored(workspace.prepared / "users.parquet")["user_id"]
    for route, protocol in (("warm", decision["protocol"]), ("cold_start", "cold_start")):
        name = decision["routes"][route]
        for split in sorted(read_json(workspace.prepared / "splits.json")):
            if split.split("-")[0] == protocol:
                model = load(workspace.candidate(name) / split / "seed-0")
                save_whole(model, folder / split, name)
                read = Split.read(workspace.prepared, split, catalogue)
                asked = np.unique(read.user[read.part > 0])
                hidden = pl.DataFrame({"user_id": users.gather(asked)})
                hidden.write_parquet(folder / split / "hidden.parquet")


def save_whole(model: Any, folder: Path, name: str) -> None:
    """Write a model to `folder`/NAME; the members of a blend go beside it."""
    if isinstance(model, Blend):
        for member, own in model.members.items():
            own.save(folder / member)
        beside = {member: f"../{member}" for member in model.members}
        model.config = model.config.model_copy(update={"members": beside})
    model.save(folder / name)
