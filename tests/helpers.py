"""What several test modules call; fixtures are in conftest.py."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def dvc(root: Path, *arguments: str) -> str:
    """DVC's output, with this environment's commands in reach of the stages."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(root: Path, *words: str) -> str:
    """What `git WORDS` prints."""
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def small_params(**changes: object) -> dict[str, object]:
    """The least that params.yaml needs, for two domains of CSV tables."""
    return {
        "seed": 1,
        "data": {
            "domains": {
                d: {"interactions": f"data/{d}/interactions.csv", "items": f"data/{d}/items.csv"}
                for d in ("left", "right")
            }
        },
        "candidates": ["popularity"],
        "models": {"popularity": {"use": "bridgerec.models.popularity:Popularity"}},
        **changes,
    }
