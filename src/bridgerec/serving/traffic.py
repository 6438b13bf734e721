"""The traffic log: one JSON line per answer, written off the hot path, without user ids."""

import os
import queue
import threading
import time
from pathlib import Path
from typing import Any

import orjson


class TrafficLog:
    """Appends to `FOLDER/requests.PID.jsonl` from a thread of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"requests.{os.getpid()}.jsonl"
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def add(
        self, answer: dict[str, Any], k: int, history: list[list[str]], shadow: bool = False
    ) -> None:
        """Queue one answer; `shadow`: one that nobody was shown."""
        line = {
            "time": round(time.time(), 3),
            **{key: answer[key] for key in ("request_id", "release", "route", "target")},
            "k": k,
            "history": history,
            "items": [item["item_id"] for item in answer["items"]],
            "scores": [round(item["score"], 6) for item in answer["items"]],
            **({"shadow": True} if shadow else {}),
        }
        self._queue.put(orjson.dumps(line) + b"\n")

    def close(self) -> None:
        """Write what is queued."""
        self._queue.put(None)
        self._thread.join(timeout=5)

    def _write(self) -> None:
        with self.path.open("ab") as file:
            while (line := self._queue.get()) is not None:
                file.write(line)
                if self._queue.empty():
                    file.flush()
