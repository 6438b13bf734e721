"""The package stage: the winner as a Bento that runs in any folder."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

import bridgerec
from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError, ConfigError
from bridgerec.registry.bundle import write_bundle
from bridgerec.registry.dossier import write_dossier
from bridgerec.runtime import atomic_folder

# a stage's output may not tell when it was made
CREATED = "2000-01-01T00:00:00+00:00"


def package(workspace: Workspace, prepare: Callable[[Path], None] | None = None) -> dict[str, Any]:
    """Build `artifacts/bento` through the workspace's `bentofile.yaml`; return the dossier.
    `prepare` is called with the bundle before it is hashed.

    Raises:
        ArtifactError: there is no champion.
        ConfigError: bentofile.yaml is missing or BentoML refuses it.
    """
    if not (workspace.champion / "champion.json").is_file():
        raise ArtifactError(f"{workspace.champion} holds no champion. Run the select stage.")
    bentofile = workspace.root / "bentofile.yaml"
    if not bentofile.is_file():
        raise ConfigError(f"{bentofile} does not exist; copy it from another workspace.")
    dossier = write_dossier(workspace)
    with tempfile.TemporaryDirectory() as name:
        context = Path(name) / "context"
        write_bundle(workspace, context / "bundle", dossier, prepare)
        # the very code that made the bundle, also when the source tree is gone
        shutil.copytree(
            Path(bridgerec.__file__).parent,
            context / "bridgerec",
            ignore=shutil.ignore_patterns("__pycache__", "flows", "dvc.yaml"),
        )
        template = files("bridgerec.templates") / "service.py.txt"
        (context / "service.py").write_bytes(template.read_bytes())
        shutil.copy(bentofile, context / "bentofile.yaml")
        built = _build(context, workspace, dossier["release"])
        try:
            with atomic_folder(workspace.bento) as folder:
                shutil.copytree(built, folder, dirs_exist_ok=True)
                _without_time(folder / "bento.yaml")
        finally:
            shutil.rmtree(built)  # the home stays, and the same release may be built again
    return dossier


@cache
def _home() -> "tempfile.TemporaryDirectory[str]":
    """BentoML's home as long as the process lives: it reads the variable once, and remembers."""
    return tempfile.TemporaryDirectory(prefix="bridgerec-bentoml-")


def _build(context: Path, workspace: Workspace, release: str) -> Path:
    os.environ["BENTOML_HOME"] = _home().name
    import bentoml
    from bentoml.exceptions import BentoMLException

    # it warns of every file above 10 MiB; models are meant to be large
    logging.getLogger("bentoml").setLevel(logging.ERROR)

    try:
        bento = bentoml.bentos.build_bentofile(
            str(context / "bentofile.yaml"),
            name=workspace.params.service.name,
            version=release,
            build_ctx=str(context),
        )
    except BentoMLException as error:
        raise ConfigError(f"BentoML cannot build from bentofile.yaml: {error}") from error
    return Path(bento.path)


def _without_time(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    content["creation_time"] = CREATED
    path.write_text(yaml.safe_dump(content, sort_keys=True))
