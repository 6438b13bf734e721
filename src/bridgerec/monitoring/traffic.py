"""Reading the traffic log: one JSON line per answer, `traffic/requests.*.jsonl`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bridgerec.errors import DataError

KEYS = ("time", "request_id", "release", "route", "target", "k", "history", "items", "scores")


@dataclass(frozen=True)
class Traffic:
    """The answers that were read, and how many lines could not be.

    `requests` are the lines as dictionaries, in time order.  `truncated` counts last lines
    without an end (a writer was stopped, or is at work); `broken` counts all other bad lines.
    """

    requests: list[dict[str, Any]]
    files: int
    truncated: int
    broken: int

    def __len__(self) -> int:
        return len(self.requests)

    def histories(self) -> list[list[tuple[str, str]]]:
        """Distinct, not empty histories as (domain, item_id), oldest first.

        Somebody who asks ten times with the same history tells nothing new the ninth time.
        """
        seen = {tuple((d, i) for d, i in r["history"]): None for r in self.requests}
        return [list(history) for history in seen if history]

    def count(self, key: str) -> dict[str, int]:
        """How many answers per value of `route`, `target` or `release`."""
        return dict(sorted(Counter(str(r[key]) for r in self.requests).items()))


def read_traffic(folder: Path) -> Traffic:
    """Read every log file; bad lines are counted, not fatal.

    Raises:
        DataError: there is no log file.
    """
    files = sorted(folder.glob("requests.*.jsonl"))
    if not files:
        raise DataError(
            f"{folder} holds no traffic log (requests.*.jsonl). Serve with `bridgerec serve` and "
            "`service.traffic_log: true`, and ask for recommendations first."
        )
    requests: list[dict[str, Any]] = []
    truncated = broken = 0
    for path in files:
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            request = _parse(line)
            if request is not None:
                requests.append(request)
            elif number == len(lines) - 1:
                truncated += 1
            else:
                broken += 1
    return Traffic(sorted(requests, key=lambda r: r["time"]), len(files), truncated, broken)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or any(key not in found for key in KEYS):
        return None
    pairs = found["history"]
    good = (
        isinstance(found["time"], int | float)
        and isinstance(pairs, list)
        and all(isinstance(p, list) and len(p) == 2 and set(map(type, p)) == {str} for p in pairs)
    )
    return found if good else None
