"""The parts of a running BridgeRec: how each is started, and when it is well."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import httpx

from bridgerec.config import Workspace
from bridgerec.operations.processes import HOST
from bridgerec.runtime import QUIET

POOL = "bridgerec"
TITLES = {
    "prefect": "Prefect",
    "worker": "Prefect worker",
    "service": "service and console",
    "evidently": "Evidently",
    "reports": "reports",
}


@dataclass(frozen=True)
class Part:
    """`command` is for a port (None: it listens to nobody); `well` asks the running one."""

    name: str
    option: str
    command: Callable[[int], list[str]]
    well: Callable[[str], bool]
    listens: bool = True
    seconds: float = 180


def environment(workspace: Workspace, prefect: int | None) -> dict[str, str]:
    """This process's environment for every part; `prefect` is the server's port.

    Prefect's own settings of this shell are left out: they name other servers.
    """
    found = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    found |= QUIET
    # `bridgerec` and `dvc` of this environment, whether or not it is activated
    found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{found.get('PATH', '')}"
    found["PREFECT_HOME"] = str(workspace.root / ".prefect")
    if prefect is not None:
        api = f"http://{HOST}:{prefect}/api"
        found |= {"PREFECT_API_URL": api, "PREFECT_SERVER_UI_API_URL": api}
    return found


def has_flows(workspace: Workspace) -> bool:
    """Whether there is something for Prefect to run."""
    return (workspace.root / "prefect.yaml").is_file()


def has_evidently() -> bool:
    """Whether Evidently and its UI's server are installed."""
    return all(find_spec(name) is not None for name in ("evidently", "litestar"))


def prefect_server() -> Part:
    return Part(
        "prefect",
        "--prefect-port",
        lambda port: [*_prefect("server", "start"), "--host", HOST, "--port", str(port)],
        lambda url: _answers(f"{url}/api/health"),
    )


def worker(workspace: Workspace, api: Callable[[], str]) -> Part:
    """Runs what the UI starts; well when the server has heard of it."""
    # a name of its own: the server believes for a while that a killed one is still there
    name = f"{workspace.root.name}-{uuid4().hex[:8]}"
    start = _prefect("worker", "start", "--pool", POOL, "--type", "process", "--name", name)
    return Part("worker", "", lambda _: start, lambda _: name in online(api()), listens=False)


def online(api: str) -> set[str]:
    """The names of the workers that a server hears of."""
    found = _post(f"{api}/work_pools/{POOL}/workers/filter")
    return {w["name"] for w in found if w["status"] == "ONLINE"}


def service(workspace: Workspace) -> Part:
    def start(port: int) -> list[str]:
        root = str(workspace.root)
        return [sys.executable, "-m", "bridgerec.cli", "serve", "-C", root, "--port", str(port)]

    return Part("service", "--service-port", start, lambda url: _answers(f"{url}/readyz"))


def evidently(workspace: Workspace) -> Part:
    def start(port: int) -> list[str]:
        program = str(Path(sys.executable).parent / "evidently")
        place = str(workspace.operations / "evidently")
        return [program, "ui", "--host", HOST, "--port", str(port), "--workspace", place]

    return Part("evidently", "--evidently-port", start, lambda url: _answers(f"{url}/api/version"))


def reports(workspace: Workspace) -> Part:
    """The pages under reports/, to which the flows' artifacts lead (a browser does not open files
    from a page of Prefect)."""

    def start(port: int) -> list[str]:
        workspace.reports.mkdir(exist_ok=True)
        place = ["--directory", str(workspace.reports)]
        return [sys.executable, "-m", "http.server", str(port), "--bind", HOST, *place]

    return Part("reports", "--reports-port", start, _answers)


def _prefect(*words: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *words]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _post(url: str) -> list[dict[str, str]]:
    try:
        answer = httpx.post(url, json={}, timeout=10)
        return list(answer.json()) if answer.status_code == 200 else []
    except (httpx.HTTPError, ValueError):
        return []
