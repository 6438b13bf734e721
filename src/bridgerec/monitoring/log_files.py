"""The service's log files, line by line, from where one stopped reading.

Each worker appends to a file of its own, `requests.PID.jsonl` and `feedback.PID.jsonl`.
"""

from collections.abc import Iterator
from pathlib import Path


class LogFiles:
    """The files `FOLDER/KIND.*.jsonl`; `read` counts the bytes of each that were read.

    A line without an end is on its way, or its writer was killed: it is left for the next time.
    `unfinished` counts the files that ended so when they were read last.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self.read: dict[Path, int] = {}
        self.unfinished = 0

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self.kind}.*.jsonl"))

    def skip(self) -> None:
        """Begin after what is there now."""
        self.read = {path: path.stat().st_size for path in self.files}

    def new(self) -> Iterator[bytes]:
        """Every line that came since, file by file, without its end; blank ones are left out."""
        self.unfinished = 0
        for path in self.files:
            start = self.read.get(path, 0)
            with path.open("rb") as file:
                file.seek(start)
                found = file.read()
            whole = found.rfind(b"\n") + 1
            self.read[path] = start + whole
            self.unfinished += bool(found[whole:].strip())
            yield from (line for line in found[:whole].split(b"\n") if line.strip())
