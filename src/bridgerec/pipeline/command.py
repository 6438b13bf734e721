"""DVC as a command in a workspace, its output line by line."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

Say = Callable[[str], None]
KEPT_LINES = 25


def dvc(
    root: Path, *words: str, say: Say = print, around: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run `dvc WORDS` in `root`; returns its exit code and its last lines.

    Every line goes to `say`.  `around` is added to this process's environment.  If the caller is
    interrupted, DVC is stopped too.
    """
    # `bridgerec` and `dvc` of this environment, whether or not it is activated
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    own = {"PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", *words],
        cwd=root,
        env={**os.environ, **own, **(around or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    last: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if text := line.rstrip():
                last.append(text)
                say(text)
        code = process.wait()
    finally:
        if process.poll() is None:  # the flow was cancelled
            process.terminate()
            process.wait()
    return code, "\n".join(last)
