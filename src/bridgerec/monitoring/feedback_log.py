"""Impressions and clicks from the two logs of the service.

`requests.*.jsonl` says what was answered, `feedback.*.jsonl` (one line per item that was shown or
clicked) what became of it.  An optional list `propensities` beside an answer's `items` holds the
probability of each choice; without it a choice counts as certain.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bridgerec.monitoring.feedback import Clicks, Impressions
from bridgerec.monitoring.log_files import LogFiles
from bridgerec.monitoring.traffic import Traffic

KEYS = ("time", "request_id", "kind", "domain", "item_id")


@dataclass(frozen=True)
class Feedback:
    """The lines that were read, in time order, and how many could not be."""

    lines: list[dict[str, Any]]
    files: int
    broken: int

    @property
    def tells_shown(self) -> bool:
        """Whether clients report what was on the screen, and not clicks alone."""
        return any(line["kind"] == "shown" for line in self.lines)


def read_feedback(folder: Path) -> Feedback:
    """Every reaction under `folder`; no file is no feedback."""
    log = LogFiles(folder, "feedback")
    lines, broken, files = [], 0, len(log.files)
    for raw in log.new():
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            line = None
        if _good(line):
            lines.append(line)
        else:
            broken += 1
    broken += log.unfinished
    return Feedback(sorted(lines, key=lambda x: x["time"]), files, broken)


def _good(line: Any) -> bool:
    if not isinstance(line, dict) or any(key not in line for key in KEYS):
        return False
    numbers = (line["time"], line.get("position"), line.get("timestamp"))
    return isinstance(line["time"], int | float) and all(
        value is None or isinstance(value, int | float) for value in numbers
    )


def impressions_and_clicks(
    traffic: Traffic, feedback: Feedback, index: dict[tuple[str, str], int]
) -> tuple[Impressions, Clicks, list[str]]:
    """Arrays for `feedback.join`, and the request ids that their numbers stand for.

    Where clients report what they showed, only that counts; otherwise every answer counts as
    shown in full, because clicks alone do not tell of lists that nobody clicked.  Items that are
    in no catalogue are left out.
    """
    answers: dict[str, dict[tuple[str, str], tuple[float, int, float, str]]] = {}
    for request in traffic.requests:
        known = answers.setdefault(str(request["request_id"]), {})
        ranks = request.get("ranks") or range(1, len(request["items"]) + 1)
        chances = request.get("propensities") or [1.0] * len(request["items"])
        for item, rank, chance in zip(request["items"], ranks, chances, strict=False):
            place = (request["time"], int(rank), float(chance), str(request["route"]))
            known[request["target"], item] = place
    number = {name: i for i, name in enumerate(answers)}
    rows: list[tuple[Any, ...]] = []
    if feedback.tells_shown:
        for line in feedback.lines:
            pair = (line["domain"], line["item_id"])
            known = answers.get(str(line["request_id"]), {})
            if line["kind"] == "shown" and pair in known and pair in index:
                time, rank, chance, route = known[pair]
                rank = int(line.get("position") or rank)
                rows.append(
                    (number[str(line["request_id"])], time, index[pair], rank, chance, pair[0],
                     route)
                )  # fmt: skip
    else:
        for name, known in answers.items():
            for pair, (time, rank, chance, route) in known.items():
                if pair in index:
                    rows.append((number[name], time, index[pair], rank, chance, pair[0], route))
    rows = list({(r[0], r[2]): r for r in rows}.values())  # an item reported twice was shown once
    columns: list[Any] = [list(c) for c in zip(*rows, strict=True)] or [[] for _ in range(7)]
    clicks = [
        (number.get(str(line["request_id"]), -1),
         index.get((line["domain"], line["item_id"]), -1),
         float(line.get("timestamp") or line["time"]))
        for line in feedback.lines
        if line["kind"] == "clicked"
    ]  # fmt: skip
    clicked = np.array(clicks, dtype=np.float64).reshape(-1, 3)
    impressions = Impressions(
        request=np.array(columns[0], dtype=np.int64),
        time=np.array(columns[1], dtype=np.float64),
        item=np.array(columns[2], dtype=np.int64),
        position=np.maximum(np.array(columns[3], dtype=np.int64), 1),
        propensity=np.clip(np.array(columns[4], dtype=np.float64), 1e-9, 1.0),
        domain=np.array(columns[5], dtype=np.str_),
        route=np.array(columns[6], dtype=np.str_),
    )
    made = Clicks(clicked[:, 0].astype(np.int64), clicked[:, 1].astype(np.int64), clicked[:, 2])
    return impressions, made, list(answers)
