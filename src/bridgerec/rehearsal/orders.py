"""Flow runs on the Prefect server that `bridgerec up` started, over its HTTP API."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from bridgerec.errors import BridgeRecError

OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
LOG_LINES = 20
PATIENCE = 30.0  # seconds for one question
BUSY = 120.0  # seconds
LONG = 3600.0  # seconds that a flow may take on a machine that is busy
Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """A flow run as the server tells it; `started_by` is AUTOMATION where an event started it."""

    id: str
    name: str
    state: str
    message: str
    started_by: str
    seconds: float

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Run":
        by = found.get("created_by") or {}
        return cls(
            id=str(found["id"]),
            name=str(found["name"]),
            state=str(found["state_type"]),
            message=str((found.get("state") or {}).get("message") or ""),
            started_by=str(by.get("type") or "PERSON"),
            seconds=float(found.get("total_run_time") or 0),
        )


class Orders:
    """`url` is the server's."""

    def __init__(self, url: str) -> None:
        self.api = f"{url}/api"

    def start(self, name: str, parameters: dict[str, Any] | None = None) -> Run:
        """Start the deployment NAME, whose flow has the same name, as its form in the UI does."""
        deployment = self._deployment(name)
        body = {
            "parameters": parameters or {},
            "state": {"type": "SCHEDULED"},
            "idempotency_key": uuid4().hex,  # said again to a busy server, it is one run
        }
        return Run.of(self._ask("POST", f"/deployments/{deployment}/create_flow_run", body))

    def wait(self, run: Run, seconds: float, say: Say = lambda _: None) -> Run:
        """Wait until a run is over; what it logs goes to `say`.

        Raises:
            BridgeRecError: it did not complete, or was not over in time; with the end of its log.
        """
        limit, told = time.monotonic() + seconds, 0
        while True:
            now = Run.of(self._ask("GET", f"/flow_runs/{run.id}"))
            lines = self.log(run)
            for line in lines[told:]:
                say(line)
            told = len(lines)
            if now.state == "COMPLETED":
                return now
            late = time.monotonic() > limit
            if now.state in OVER or late:
                what = f"was not over within {seconds:.0f} s" if late else f"ended {now.state}"
                end = "\n".join(lines[-LOG_LINES:])
                raise BridgeRecError(f"the flow run {now.name} {what}: {now.message}\n{end}")
            time.sleep(1)

    def runs(self, name: str) -> list[Run]:
        """All runs of a deployment, the oldest first."""
        wanted = {"deployments": {"id": {"any_": [self._deployment(name)]}}}
        found = self._ask("POST", "/flow_runs/filter", {**wanted, "sort": "ID_DESC"})
        return [Run.of(one) for one in sorted(found, key=lambda one: str(one["created"]))]

    def started_by_event(self, name: str, seconds: float) -> Run:
        """The first run of a deployment that an event started; waits for it.

        Raises:
            BridgeRecError: none was started in time.
        """
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            for run in self.runs(name):
                if run.started_by == "AUTOMATION":
                    return run
            time.sleep(1)
        raise BridgeRecError(
            f"no event started the deployment {name} within {seconds:.0f} s. Look at the server's "
            f"automations and events: {self.api.removesuffix('/api')}/automations"
        )

    def log(self, run: Run) -> list[str]:
        """What a run, its tasks and the flows that it called logged, in order."""
        called = {"flow_runs": {"parent_flow_run_id": {"any_": [run.id]}}}
        inside = [str(one["id"]) for one in self._ask("POST", "/flow_runs/filter", called)]
        wanted = {"flow_run_id": {"any_": [run.id, *inside]}}
        found, body = list[str](), {"logs": wanted, "sort": "TIMESTAMP_ASC", "limit": 200}
        while page := self._ask("POST", "/logs/filter", {**body, "offset": len(found)}):
            found += [str(line["message"]) for line in page]
        return found

    def _deployment(self, name: str) -> str:
        return str(self._ask("GET", f"/deployments/name/{name}/{name}")["id"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The server's answer; a busy one, whose database is locked for a moment, is asked again.

        Raises:
            BridgeRecError: it refuses, or is busy for too long.
        """
        limit = time.monotonic() + BUSY
        while True:
            try:
                answer = httpx.request(method, f"{self.api}{path}", json=body, timeout=PATIENCE)
                if answer.status_code < 400:
                    return answer.json()
                said, again = answer.text[:500], answer.status_code in (429, 503)
            except httpx.TransportError as error:
                said, again = repr(error), True
            if not again or time.monotonic() > limit:
                raise BridgeRecError(f"Prefect at {self.api} refused {path}: {said}")
            time.sleep(1)
