"""DVC's version of data/: reading it, making the next one, and holding others off meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.pipeline.command import dvc
from bridgerec.pipeline.graph import BUSY, Busy

RECORD = "data.dvc"


def version(root: Path) -> str | None:
    """DVC's hash of data/ as `data.dvc` has it; None: there is none, or it is damaged."""
    import yaml

    try:
        found = yaml.safe_load((root / RECORD).read_text(encoding="utf-8"))
        return str(found["outs"][0]["md5"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, yaml.YAMLError):
        return None


def add_version(root: Path) -> str:
    """`dvc add data`; returns the new version.

    Raises:
        Busy: another DVC process uses data/.
        BridgeRecError: DVC refuses; with what it said.
    """
    if version(root) is None:
        (root / RECORD).unlink(missing_ok=True)  # DVC refuses to replace a damaged one
    code, said = dvc(root, "add", "--quiet", "data", say=lambda _: None)
    if code and any(sign in said for sign in BUSY):
        raise Busy(f"another DVC process is at work in {root}; try again later.")
    made = version(root)
    if code or made is None:
        raise BridgeRecError(
            f"DVC could not record the new version of {root / 'data'}. The rows are in it; correct "
            f"the cause and say `bridgerec intake` again. DVC said:\n{said}"
        )
    return made


@contextmanager
def held(root: Path, folder: Path) -> Iterator[None]:
    """While the block runs, no stage reads `folder`.

    Raises:
        ConfigError: DVC is not set up in the workspace.
        Busy: a stage reads it now.
    """
    from dvc.exceptions import NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo
    from dvc.rwlock import rwlock

    try:
        repo = Repo(str(root))
    except NotDvcRepoError as error:
        raise ConfigError(f"{root} is under no DVC. Run `dvc init` there first.") from error
    with repo:
        hard = repo.config["core"].get("hardlink_lock", False)
        try:
            with rwlock(repo.tmp_dir, repo.fs, "bridgerec intake", [], [str(folder)], hard):
                yield
        except LockError as error:
            raise Busy(f"{folder} is in use by a stage; try again later. {error}") from error
