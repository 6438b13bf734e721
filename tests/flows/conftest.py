"""A toy DVC workspace of tiny stages."""

import sys
from pathlib import Path

import pytest

from helpers import dvc
from tiny_world import TOOL, kept_in_git, original

__all__ = ["kept_in_git", "original", "toy"]
PIPELINE = """
stages:
  one:
    cmd: {python} tool.py one.txt data.txt
    deps: [data.txt]
    outs: [one.txt]
  two:
    matrix:
      name: [a, b, c]
    cmd: {python} tool.py two-${{item.name}}.txt one.txt
    deps: [one.txt]
    outs: ["two-${{item.name}}.txt"]
  three:
    cmd: {python} tool.py three.txt two-a.txt two-b.txt two-c.txt
    deps: [two-a.txt, two-b.txt, two-c.txt]
    outs: [three.txt]
  aside:
    cmd: {python} tool.py aside.txt data.txt
    deps: [data.txt]
    outs: [aside.txt]
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    root = tmp_path / "toy"
    root.mkdir()
    dvc(root, "init", "--no-scm", "--quiet")
    (root / "dvc.yaml").write_text(PIPELINE.format(python=sys.executable))
    (root / "tool.py").write_text(TOOL)
    (root / "data.txt").write_text("data\n")
    return root
