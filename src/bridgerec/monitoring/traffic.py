"""Reading the traffic log: one JSON line per answer, `traffic/requests.*.jsonl`."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bridgerec.errors import DataError
from bridgerec.monitoring.log_files import LogFiles

KEYS = ("time", "request_id", "release", "route", "target", "k", "history", "items", "scores")


@dataclass(frozen=True)
class Traffic:
    """The answers that were read, and how many lines could not be.

    `requests` are the lines as dictionaries, in time order; `shadows` those of releases that were
    asked in the background and shown to nobody.  `truncated` counts last lines
    without an end (a writer was stopped, or is at work); `broken` counts all other bad lines.
    """

    requests: list[dict[str, Any]]
    files: int
    truncated: int
    broken: int
    shadows: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.requests)

    def histories(self) -> list[list[tuple[str, str]]]:
        """The newest, not empty history of everybody, as (domain, item_id), oldest first.

        There are no user ids, but a history keeps its two oldest entries as it grows; somebody
        who asks ten times tells nothing new the ninth time.
        """
        newest = {}
        for request in self.requests:
            history = [(domain, item) for domain, item in request["history"]]
            newest[tuple(history[:2])] = history
        return [history for history in newest.values() if history]

    def count(self, key: str) -> dict[str, int]:
        """How many answers per value of `route`, `target` or `release`."""
        return dict(sorted(Counter(str(r[key]) for r in self.requests).items()))


def read_traffic(folder: Path) -> Traffic:
    """Read every log file; bad lines are counted, not fatal.

    Raises:
        DataError: there is no log file.
    """
    log = LogFiles(folder, "requests")
    files = len(log.files)
    if not files:
        raise DataError(
            f"{folder} holds no traffic log (requests.*.jsonl). Serve with `bridgerec serve` and "
            "`service.traffic_log: true`, and ask for recommendations first."
        )
    requests: list[dict[str, Any]] = []
    broken = 0
    for line in log.new():
        request = read_answer(line)
        if request is None:
            broken += 1
        else:
            requests.append(request)
    requests.sort(key=lambda r: r["time"])
    shown = [r for r in requests if not r.get("shadow")]
    shadows = [r for r in requests if r.get("shadow")]
    return Traffic(shown, files, log.unfinished, broken, shadows)


def read_answer(line: bytes) -> dict[str, Any] | None:
    """What a line of the log tells; None where it is damaged."""
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
