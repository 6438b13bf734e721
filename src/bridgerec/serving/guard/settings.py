"""What the guard is told: by the release (`service` of params.yaml) and by the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEYS = "BRIDGEREC_KEYS"  # the file of API keys; unset: an open service
OPEN = "BRIDGEREC_OPEN"  # "1": an open service may be asked from other machines
WORKERS = "BRIDGEREC_WORKERS"  # how many processes share a key's rate


@dataclass(frozen=True)
class GuardSettings:
    """Limits of one worker.  `rate_per_second` and `burst` are those of a key over all workers;
    `concurrency` and `queue` count requests of this worker."""

    max_body_bytes: int = 1_000_000
    timeout_seconds: float = 5
    rate_per_second: float = 100
    burst: int = 200
    concurrency: int = 64
    queue: int = 256
    workers: int = 1
    keys: Path | None = None
    open_to_all: bool = False

    @classmethod
    def of(
        cls, service: Mapping[str, Any], environment: Mapping[str, str] = os.environ
    ) -> "GuardSettings":
        """Settings from the manifest's `service` section; a release of an older version, which
        has no section `guard`, gets the defaults."""
        given = {**service, **service.get("guard", {})}
        names = ("max_body_bytes", "timeout_seconds", "rate_per_second", "burst", "concurrency")
        keys = environment.get(KEYS)
        return cls(
            **{name: given[name] for name in (*names, "queue") if name in given},
            workers=max(1, int(environment.get(WORKERS, "1"))),
            keys=Path(keys) if keys else None,
            open_to_all=environment.get(OPEN) == "1",
        )
