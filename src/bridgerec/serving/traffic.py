"""The traffic log: JSON lines per answer and per reaction, written off the hot path, without user
ids.

A log that cannot be written (a full disk) is no reason to stop answering: those lines are lost,
and said to be, and the next ones are tried again.
"""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from bridgerec.serving.lines import Lines
from bridgerec.serving.state import Reaction

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class TrafficLog:
    """Appends to `FOLDER/requests.PID.jsonl` and `FOLDER/feedback.PID.jsonl` from a thread.

    `lost` counts the lines that could not be written.
    """

    def __init__(self, folder: Path) -> None:
        self.lost = 0
        self._failing = False
        self.path = folder / f"requests.{os.getpid()}.jsonl"
        self.reactions = folder / f"feedback.{os.getpid()}.jsonl"
        self._queue: Lines[tuple[Path, bytes]] = Lines(self._write)
        self._files: dict[Path, int] = {}

    def add(
        self, answer: dict[str, Any], k: int, history: list[tuple[str, str]], shadow: bool = False
    ) -> None:
        """Queue one answer: a line per target, with the probabilities of its choices where chance
        had a part in it; `shadow`: one that nobody was shown."""
        now = round(time.time(), 3)
        for target in answer["target"]:
            items = answer["items"]
            if len(answer["target"]) > 1:
                items = [item for item in items if item["domain"] == target]
            chances = [item["propensity"] for item in items if "propensity" in item]
            line = {
                "time": now,
                "request_id": answer["request_id"],
                "release": answer["release"],
                "route": answer["routes"][target],
                "target": target,
                "k": k,
                "history": history,
                "items": [item["item_id"] for item in items],
                "ranks": [item["rank"] for item in items],
                "scores": [round(item["score"], 6) for item in items],
                **({"propensities": chances} if chances else {}),
                **({"shadow": True} if shadow else {}),
            }
            self._queue.put((self.path, orjson.dumps(line) + b"\n"))

    def react(self, reactions: Sequence[Reaction]) -> None:
        """Queue feedback: a line per item shown or clicked."""
        now = round(time.time(), 3)
        for r in reactions:
            line = {
                "time": now,
                "request_id": r.request_id,
                "kind": r.kind,
                "domain": r.domain,
                "item_id": r.item_id,
                "position": r.position,
                "timestamp": r.timestamp,
            }
            self._queue.put((self.reactions, orjson.dumps(line) + b"\n"))

    def close(self) -> None:
        """Write what is queued."""
        self._queue.close()
        while self._files:
            os.close(self._files.popitem()[1])

    def _write(self, lines: list[tuple[Path, bytes]]) -> None:
        by_file: dict[Path, list[bytes]] = {}
        for path, line in lines:
            by_file.setdefault(path, []).append(line)
        for path, own in by_file.items():
            try:
                if path not in self._files:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self._files[path] = os.open(path, APPEND, 0o644)
                _append(self._files[path], b"".join(own))
                self._told(path, None, 0)
            except OSError as error:
                self._told(path, error, len(own))

    def _told(self, path: Path, error: OSError | None, lines: int) -> None:
        """Count what is lost; say when that begins and when it is over, not for every line."""
        self.lost += lines
        if (error is not None) == self._failing:
            return
        self._failing = error is not None
        said = (
            f"{path} cannot be written ({error.strerror}); its lines are lost until there is room, "
            "answers go on"
            if error is not None
            else f"{path} is written again; {self.lost} lines were lost since the start"
        )
        with suppress(OSError, ValueError):  # stderr may be a file on the same disk
            print(f"traffic log: {said}", file=sys.stderr, flush=True)


def _append(file: int, text: bytes) -> None:
    """Write all of `text` or nothing of it: a full disk takes a part of what it is given."""
    before = os.fstat(file).st_size
    written = 0
    try:
        while written < len(text):
            written += os.write(file, text[written:])
    except OSError:
        os.ftruncate(file, before)
        raise
