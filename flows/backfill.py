"""The backfill flow: recommendations for everybody, to Parquet."""

from bridgerec.runtime import prepare_environment

prepare_environment()  # before Prefect reads it

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from bridgerec.config import Workspace
from bridgerec.flows.shown import Bar
from bridgerec.operations.backfill import Wanted
from bridgerec.operations.backfill import backfill as write


@flow(name="backfill")
def backfill(
    workspace: str = ".",
    targets: list[str] | None = None,
    k: int = 10,
    users: list[str] | None = None,
    release: str | None = None,
    chunk: int = 1000,
) -> dict[str, Any]:
    """Write recommendations to artifacts/backfill, as the service would answer now.

    A run that was killed goes on where it stopped when it is started again.

    Args:
        workspace: Folder with params.yaml and a release.
        targets: Domains to recommend from; empty means those of params.yaml.
        k: How many items for each person and target.
        users: Ids of the people; empty means everybody.
        release: A kept release; empty means the live one, or what is packaged where none is live.
        chunk: How many people share a file.

    Raises:
        ConfigError: a target or the release is unknown, or k is too large.
        ArtifactError: nothing is packaged or live.
    """
    place = Workspace.open(workspace)
    wanted = Wanted(tuple(users) if users else None, tuple(targets or ()), k, release, chunk=chunk)
    bar = Bar("backfill-progress", "people asked")

    def progress(done: int, total: int) -> None:
        bar.description = f"{done:,} of {total:,} people asked"
        bar.reach(100 * done / max(total, 1))

    manifest = write(place, wanted, progress)
    create_markdown_artifact(page(manifest), key="backfill", description="What was written")
    return manifest


def page(manifest: dict[str, Any]) -> str:
    """The manifest as Markdown."""
    lines = [
        f"# {manifest['rows']:,} recommendations for {manifest['people']:,} people",
        "",
        f"- by `{manifest['release']}`, trained on data `{manifest['data_hash']}`",
        f"- {manifest['k']} items of {', '.join(manifest['targets'])}, in `artifacts/backfill`",
        f"- {manifest['people_per_second']:,} people a second",
    ]
    if manifest["resumed_after"]:
        lines.append(f"- taken up after {manifest['resumed_after']:,} people")
    lines += [f"- {n:,} lists on the route {route}" for route, n in manifest["routes"].items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    backfill()
