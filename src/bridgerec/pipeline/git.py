"""Git as a command."""

import os
import subprocess
from pathlib import Path

from bridgerec.errors import BridgeRecError, ConfigError

OTHERS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # a hook's: they name another repository


def run_git(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """`git WORDS` in `root`, whatever its exit code.

    Raises:
        ConfigError: git is not installed.
    """
    around = {k: v for k, v in os.environ.items() if k not in OTHERS}
    try:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, env=around)
    except FileNotFoundError as error:
        raise ConfigError("git is not installed, and experiments are kept by it.") from error


def git(root: Path, *words: str) -> str:
    """What `git WORDS` prints in `root`.

    Raises:
        BridgeRecError: git refuses, with what it said.
        ConfigError: git is not installed.
    """
    done = run_git(root, *words)
    if done.returncode:
        raise BridgeRecError(f"`git {' '.join(words)}` failed in {root}: {done.stderr.strip()}")
    return done.stdout.strip()


def author(root: Path) -> dict[str, str]:
    """Variables that say who commits, where git was not told."""
    if run_git(root, "config", "user.email").stdout.strip():
        return {}
    names = {f"GIT_{who}_NAME": "BridgeRec" for who in ("AUTHOR", "COMMITTER")}
    return names | {f"GIT_{who}_EMAIL": "bridgerec@localhost" for who in ("AUTHOR", "COMMITTER")}
