"""The release flow: the packaged winner is tried over HTTP, then kept under `releases/`."""

import shutil
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError, GateRefused
from bridgerec.runtime import atomic_folder, file_hash, prepare_environment, read_json, write_json

prepare_environment()


@task(cache_policy=NO_CACHE)
def check_decision(workspace: Workspace) -> dict[str, Any]:
    """The gate's decision, which must allow a release."""
    path = workspace.reports / "decision.json"
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist. Run the training flow or `bridgerec run`.")
    decision: dict[str, Any] = read_json(path)
    if not decision["released"]:
        raise GateRefused("the gate refuses a release:\n  " + "\n  ".join(decision["reasons"]))
    return decision


@task(cache_policy=NO_CACHE)
def smoke_test(bento: Path, targets: list[str]) -> str:
    """Serve the Bento, ask for every target as an unknown person; returns the release id."""
    import httpx

    from bridgerec.serving.launch import running

    release = ""
    with running(bento) as url:
        for target in targets:
            answer = httpx.post(f"{url}/recommend", json={"target": target, "k": 5}, timeout=30)
            if answer.status_code != 200 or not answer.json()["items"]:
                raise ArtifactError(
                    f"{bento} gives no recommendations for {target}: {answer.status_code} "
                    f"{answer.text[:500]}. Build it again with the package stage."
                )
            release = answer.json()["release"]
    return release


@task(cache_policy=NO_CACHE)
def record(workspace: Workspace, release: str, winner: str) -> Path:
    """Copy the Bento to `releases/RELEASE`; then point `releases/current.json` at it."""
    releases = workspace.root / "releases"
    kept = releases / release
    digest = file_hash(workspace.bento)
    if not (kept.is_dir() and file_hash(kept) == digest):
        with atomic_folder(kept) as folder:
            shutil.copytree(workspace.bento, folder, dirs_exist_ok=True)
    current = releases / "current.json"
    before = read_json(current)["release"] if current.is_file() else None
    if before != release:
        write_json(
            current,
            {"release": release, "candidate": winner, "bento_sha256": digest, "previous": before},
        )
    return kept


@flow(name="release")
def release(workspace: str = ".") -> str:
    """Release the packaged winner, if the gate allowed it and it answers; returns its id.

    Args:
        workspace: Folder with params.yaml, reports/decision.json and artifacts/bento.

    Raises:
        GateRefused: the gate allowed no release.
        ArtifactError: the decision or the Bento is missing, or the Bento does not answer.
    """
    place = Workspace.open(workspace)
    decision = check_decision(place)
    found = smoke_test(place.bento, list(place.params.target_domains))
    kept = record(place, found, decision["winner"])
    get_run_logger().info("released %s (%s)", found, decision["winner"])
    create_markdown_artifact(
        f"# Release {found}\n\n{decision['winner']}, kept in `{kept}`\n",
        key="release",
        description="What is live now",
    )
    return found


if __name__ == "__main__":
    release()
