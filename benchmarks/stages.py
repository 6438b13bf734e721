"""Stages of a workspace, run one by one in this process; each once, and timed.

The processor seconds are kept in `timings.json` of the workspace: a stage that has an entry there
is not run again, so that a run which was interrupted goes on where it stopped.
"""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bridgerec.config import Workspace
from bridgerec.pipeline.stages import run_stage
from bridgerec.runtime import read_json, write_json


def run(workspace: Workspace, stages: Iterable[str]) -> dict[str, float]:
    """Run `stages` ("prepare", "train ease_text", …) unless done; processor seconds of each."""
    path = workspace.root / "timings.json"
    seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    for stage in stages:
        if stage in seconds:
            continue
        before = time.process_time()
        name, _, candidate = stage.partition(" ")
        run_stage(workspace, name, candidate or None, lambda text: None)
        seconds[stage] = round(time.process_time() - before, 1)
        path.write_text(json.dumps(seconds, indent=1))
        print(f"{workspace.root.name}: {stage}, {seconds[stage]} s", flush=True)
    return seconds


def kept(path: Path | None, make: Callable[[], Any]) -> Any:
    """What `make` gives, as JSON has it; kept at `path`, and made only if it is not there yet."""
    if path is None:
        return make()
    if not path.exists():
        write_json(path, make())
    return read_json(path)


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
