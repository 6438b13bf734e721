"""What every process sets before it computes, and files that are never half-written."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

QUIET = {
    "OMP_WAIT_POLICY": "passive",  # spinning threads beside a busy core are 300x slower
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "BENTOML_DO_NOT_TRACK": "True",
    "DVC_NO_ANALYTICS": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
}

# the disk, a quota, or the size that a process may write
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def prepare_environment() -> None:
    """Set thread and telemetry variables that are not set yet (call before heavy imports)."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def keep_memory() -> None:
    """Let glibc keep freed blocks for the next array (elsewhere: do nothing).

    By default it returns every large block to the kernel, which then has to zero and map new
    pages for the next one: up to a third of the time of array code on many million rows.  Threads
    share one heap, as one of their own could not hold a large block.
    """
    import ctypes

    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD: blocks up to 1 GiB come from the heap
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD: the heap does not shrink
        mallopt(-8, 1)  # M_ARENA_MAX


class DiskFull(OSError):
    """Nothing more can be written; the message names what was being written and the remedy."""

    exit_code = 8


def no_room(error: BaseException) -> bool:
    """Whether an error says that the disk, or what one may use of it, is full.

    Libraries wrap the system's error in their own and keep at most its words.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return any(f"(os error {number})" in str(error) for number in FULL) or any(
        os.strerror(number) in str(error) for number in FULL
    )


def disk_full(path: Path, error: BaseException) -> DiskFull:
    """The error to raise when `path` could not be written."""
    return DiskFull(
        f"{path} cannot be written: the disk is full ({os.strerror(_number(error))}). What was "
        "there before is as it was. Make room (`df -h` shows where, `dvc gc --workspace` drops "
        "what no longer counts from DVC's cache), and run the same command again."
    )


def _number(error: BaseException) -> int:
    said = [n for n in FULL if f"(os error {n})" in str(error) or os.strerror(n) in str(error)]
    return getattr(error, "errno", None) or next(iter(said), errno.ENOSPC)


@contextmanager
def _room_for(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFull) or no_room(error):
            raise disk_full(path, error) from error
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it on success, remove it on failure.

    Raises:
        DiskFull: it cannot be written whole; what was there before is as it was.
    """
    with _room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of the file `path` left beside it; for whoever knows that nobody
    else is writing it."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a fresh folder beside `path`; on success it takes the place of `path`.

    Raises:
        DiskFull: it cannot be written whole; what was there before is as it was.
    """
    with _room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{path.name}.*"):  # of a killed run
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        temporary.chmod(0o755)
        try:
            yield temporary
            if path.exists():
                shutil.rmtree(path)
            os.replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def swap_folders(one: Path, other: Path) -> bool:
    """Let two folders of one file system exchange their names at one stroke; False: this system
    cannot, and nothing was done."""
    import ctypes

    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return not exchange(here, os.fsencode(one), here, os.fsencode(other), both)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys and a final newline, so that equal values are equal bytes."""
    with atomic_file(path) as temporary:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


class BrokenFile(ValueError):
    """A file is damaged; the message names it and says what to do."""

    exit_code = 4  # as ArtifactError, which this module may not import (see Layers)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        BrokenFile: it is not JSON, for example cut off.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # also UnicodeDecodeError
        raise BrokenFile(
            f"{path} is damaged: it is not valid JSON ({error}). Delete it and make it again with "
            "the stage that writes it (`bridgerec run`)."
        ) from error


def file_hash(path: Path) -> str:
    """sha256 of a file, or of a folder's sorted relative paths and contents."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
