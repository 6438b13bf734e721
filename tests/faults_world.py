"""What the tests of faults share: a small finished workspace, a disk that fills, the command."""

import io
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

import bridgerec.cli as cli
from bridgerec.config import Workspace
from bridgerec.runtime import no_room
from helpers import REPOSITORY, small_params, small_world

MODELS = {
    "popularity": {"use": "bridgerec.models.popularity:Popularity"},
    "ease_text": {
        "use": "bridgerec.models.ease:EASE",
        "regularization": 10,
        "text_weight": 2,
    },
}
ROOM = "32m"  # of the disk that fills


class Said(NamedTuple):
    """How a command ended, and all that it printed."""

    code: int
    text: str


def bridgerec(root: Path, *words: str) -> Said:
    """`bridgerec WORDS -C root` in this process, which has the heavy imports already."""
    before, said, code = sys.argv, io.StringIO(), 0
    sys.argv = ["bridgerec", *words, "-C", str(root)]
    try:
        with redirect_stdout(said), redirect_stderr(said):
            cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    return Said(code, said.getvalue())


def in_a_process(root: Path, *words: str) -> Said:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "bridgerec.cli", *words, "-C", str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    return Said(done.returncode, done.stdout + done.stderr)


def finished_small(root: Path) -> Workspace:
    """Every stage over the small world, in this process; nothing is under DVC."""
    workspace = small_world(root)
    params = small_params(
        candidates=list(MODELS),
        models=MODELS,
        targets=["right"],
        split={"protocols": ["temporal"]},
        prepare={"k_core": {"user": 1, "item": 1}},
        evaluation={"ks": [10], "seeds": 1, "bootstrap": 100},
        gate={"metric": "ndcg@10", "protocol": "temporal", "baseline": "popularity"},
        service={"timeout_seconds": 40, "model_seconds": 20},  # machines that are busy
    )
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    for name in ("dvc.yaml", "bentofile.yaml", "prefect.yaml"):
        shutil.copy(REPOSITORY / name, root)
    shutil.copytree(REPOSITORY / "expectations", root / "expectations")
    shutil.copytree(REPOSITORY / "flows", root / "flows")
    trained = [("train", name) for name in MODELS]
    for stage in (("validate",), ("prepare",), ("embed",), *trained, ("evaluate",), ("select",),
                  ("package",)):  # fmt: skip
        found = bridgerec(root, "stage", *stage)
        assert found.code == 0, (stage, found.text)
    return workspace


class Disk:
    """A folder whose disk can be filled: a file system of its own where mounting is allowed, else
    a limit on the size of every file that this process writes."""

    def __init__(self, folder: Path, mounted: bool) -> None:
        self.folder, self.mounted = folder, mounted

    @contextmanager
    def full(self) -> Iterator[None]:
        if self.mounted:
            filler = self.folder / "filler"
            with filler.open("wb", buffering=0) as file:
                for size in (1 << 16, 1 << 12, 1):
                    _fill(file, bytes(size))
            try:
                yield
            finally:
                filler.unlink()
        else:
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _fill(file: io.RawIOBase, block: bytes) -> None:
    while True:
        try:
            file.write(block)
        except OSError as error:
            if not no_room(error):
                raise
            return


@pytest.fixture(scope="session")
def small_finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small workspace with a Bento; tests that change it work on a copy."""
    root = tmp_path_factory.mktemp("faults") / "workspace"
    root.mkdir()
    return finished_small(root)


@pytest.fixture(scope="session")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    able = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    yield Disk(folder, able)
    if able:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk(mounted: Disk) -> Iterator[Disk]:
    """An empty disk that can be filled."""
    yield mounted
    for path in mounted.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def workspace(small_finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy that a test may break."""
    return Workspace.open(shutil.copytree(small_finished.root, tmp_path / "workspace"))


@pytest.fixture
def on_disk(small_finished: Workspace, disk: Disk) -> Workspace:
    """A copy on the disk that can be filled."""
    return Workspace.open(shutil.copytree(small_finished.root, disk.folder / "workspace"))
