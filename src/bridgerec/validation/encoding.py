"""Files in a wrong encoding."""

import gzip
from pathlib import Path
from typing import Any


def undecodable_lines(path: Path, n: int) -> tuple[int, int, list[dict[str, Any]]]:
    """How many lines of a text table are not UTF-8, of how many, and the first `n` of them."""
    count, line = 0, 0
    shown: list[dict[str, Any]] = []
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                count += 1
                if len(shown) < n:
                    text = raw.decode("utf-8", "backslashreplace").strip()
                    shown.append({"line": line, "text": text[:200]})
    return count, line, shown
