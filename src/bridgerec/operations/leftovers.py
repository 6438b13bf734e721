"""Flow runs whose worker was killed: the server believes that they still run."""

from typing import Any

import httpx

from bridgerec.errors import BridgeRecError
from bridgerec.operations.parts import POOL

GOING_ON = ("PENDING", "RUNNING", "CANCELLING")
WHY = (
    "the worker that ran it was killed, or stopped, before it ended. What its stages finished is "
    "kept; start it again"
)


def end_left_runs(api: str) -> list[str]:
    """Mark the pool's runs as crashed that nobody runs any more; returns their names.

    To be called while no worker of the pool is alive.  A run that only seems to go on would keep
    its deployment busy, and later runs waiting, for ever.

    Raises:
        BridgeRecError: the server refuses.
    """
    wanted = {
        "work_pools": {"name": {"any_": [POOL]}},
        "flow_runs": {"state": {"type": {"any_": list(GOING_ON)}}},
    }
    crashed = {"type": "CRASHED", "name": "Crashed", "message": WHY}
    try:
        with httpx.Client(base_url=api, timeout=60) as client:
            found: list[dict[str, Any]] = _told(client.post("/flow_runs/filter", json=wanted))
            for run in found:
                change = {"state": crashed, "force": True}
                _told(client.post(f"/flow_runs/{run['id']}/set_state", json=change))
    except (httpx.HTTPError, ValueError) as error:
        raise BridgeRecError(
            f"the Prefect server at {api} does not tell which flow runs were left: {error}. Say "
            "`bridgerec up` again."
        ) from error
    return [str(run["name"]) for run in found]


def _told(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    return answer.json()
