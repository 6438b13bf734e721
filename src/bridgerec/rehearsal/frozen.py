"""The frozen model: the first release, served beside the live one on the same live state."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bridgerec.config import Workspace
from bridgerec.operations import parts
from bridgerec.operations.processes import HOST, find_port, start, stop, wait_until
from bridgerec.operations.state import Running
from bridgerec.registry.store import Release
from bridgerec.runtime import BrokenFile, read_json, write_json
from bridgerec.serving.launch import Settings, command

NOTE = "frozen.json"  # what runs, for a rehearsal that follows one that was killed
READY = 180.0  # seconds


@contextmanager
def frozen(folder: Path, living: Workspace, release: Release) -> Iterator[str]:
    """Serve a release while the block runs; gives its address."""
    port = find_port(0, "")
    url = f"http://{HOST}:{port}"
    around = Settings(state=str(living.state)).environment(folder / ".frozen")
    log = folder / "frozen.log"
    part = start(command(release.bento, port, HOST), around, folder, log, port, url)
    write_json(folder / NOTE, part.model_dump(mode="json"))
    try:
        wait_until("frozen release", part, lambda: parts.service(living).well(url), READY)
        yield url
    finally:
        stop_frozen(folder)


def stop_frozen(folder: Path) -> None:
    """Stop the frozen release of a folder, also one that a killed rehearsal left."""
    with suppress(BrokenFile, OSError):
        stop(Running.model_validate(read_json(folder / NOTE)))
    (folder / NOTE).unlink(missing_ok=True)
