"""What is live and what monitoring said last, for `bridgerec status`."""

from datetime import UTC, datetime
from typing import Any

import httpx

from bridgerec.config import Workspace
from bridgerec.operations.state import State
from bridgerec.registry.current import read_current
from bridgerec.registry.store import Store
from bridgerec.runtime import BrokenFile, read_json


def released(workspace: Workspace, state: State) -> dict[str, Any]:
    """The live release, how many are kept, and the one that the service began with.

    Raises:
        ArtifactError: `releases/current.json` is damaged.
    """
    store = Store.of(workspace)
    current = read_current(store)
    serves = None
    if state.alive("service"):
        try:
            answer = httpx.get(f"{state.parts['service'].url}/health", timeout=5)
            serves = answer.json().get("release")
        except (httpx.HTTPError, ValueError):
            serves = None
    return {
        "live": current.release,
        "since": current.live_since(current.release) if current.release else None,
        "pinned": current.pinned,
        "kept": len(store.all()),
        "service_began_with": serves,
    }


def last_monitoring(workspace: Workspace) -> dict[str, Any] | None:
    """When the last monitoring ran, whether it found drift, and its first line; None: never."""
    folder = workspace.reports / "monitoring"
    path = folder / "summary.json"
    if not path.is_file():
        return None
    when = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    try:
        summary = read_json(path)
        lines = (folder / "summary.md").read_text(encoding="utf-8").splitlines()
    except (BrokenFile, OSError) as error:
        return {"when": when, "drift": None, "said": f"cannot be read: {error}"}
    said = next((line.lstrip("# ") for line in lines if line.strip()), "")
    return {"when": when, "drift": summary.get("drift"), "said": said}
