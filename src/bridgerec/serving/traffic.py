"""The traffic log: JSON lines per answer and per reaction, written off the hot path, without user
ids."""

import os
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from bridgerec.serving.state import Reaction


class TrafficLog:
    """Appends to `FOLDER/requests.PID.jsonl` and `FOLDER/feedback.PID.jsonl` from a thread."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"requests.{os.getpid()}.jsonl"
        self.reactions = folder / f"feedback.{os.getpid()}.jsonl"
        self._queue: queue.SimpleQueue[tuple[Path, bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def add(
        self, answer: dict[str, Any], k: int, history: list[list[str]], shadow: bool = False
    ) -> None:
        """Queue one answer: a line per target, with the probabilities of its choices where chance
        had a part in it; `shadow`: one that nobody was shown."""
        now = round(time.time(), 3)
        for target in answer["target"]:
            items = [item for item in answer["items"] if item["domain"] == target]
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
        self._queue.put(None)
        self._thread.join(timeout=5)

    def _write(self) -> None:
        files: dict[Path, BinaryIO] = {}
        try:
            while (entry := self._queue.get()) is not None:
                path, line = entry
                if path not in files:
                    files[path] = path.open("ab")
                files[path].write(line)
                if self._queue.empty():
                    for file in files.values():
                        file.flush()
        finally:
            for file in files.values():
                file.close()
