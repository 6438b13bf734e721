"""API keys: made at random, shown once, kept as hashes in a file that only its owner reads.

A key is 32 random bytes, so a plain salted sha256 is enough: slow hashes are for passwords, of
which there are few enough to try; 2^256 keys cannot be tried however fast the hash is.  A slow
hash would cost every request tens of milliseconds instead.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bridgerec.errors import ConfigError

ROLES = ("reader", "writer", "admin")  # admin may do everything
PREFIX = "br"


@dataclass(frozen=True)
class Key:
    """What a valid key stands for.  `rate`: requests per second; None: the service's default."""

    id: str
    name: str
    roles: frozenset[str]
    rate: float | None = None


def add_key(path: Path, name: str, roles: tuple[str, ...], rate: float | None = None) -> str:
    """Make a key, store its hash, and return the only copy of it.

    Raises:
        ConfigError: the name is taken or the file is damaged.
    """
    with _editing(path) as rows:
        if any(row["name"] == name for row in rows):
            raise ConfigError(f"{path} has a key {name!r} already; revoke it or choose a name.")
        taken = {row["id"] for row in rows}
        while (identity := secrets.token_hex(4)) in taken:
            pass
        text = f"{PREFIX}_{identity}_{secrets.token_urlsafe(32)}"
        salt = secrets.token_hex(16)
        row = {"id": identity, "name": name, "roles": sorted(roles), "rate": rate}
        day = time.strftime("%Y-%m-%d", time.gmtime())
        rows.append({**row, "created": day, "salt": salt, "sha256": _hash(salt, text)})
    return text


def list_keys(path: Path) -> list[dict[str, Any]]:
    """Name, id, roles, rate and day of every key.

    Raises:
        ConfigError: there is no such file, or it is damaged.
    """
    shown = ("name", "id", "roles", "rate", "created")
    return [{field: row[field] for field in shown} for row in _read(path)]


def revoke_key(path: Path, name: str) -> None:
    """Forget the key of this name or id; running services notice at their next request.

    Raises:
        ConfigError: there is no such key.
    """
    with _editing(path) as rows:
        kept = [row for row in rows if name not in (row["name"], row["id"])]
        if len(kept) == len(rows):
            names = ", ".join(row["name"] for row in rows) or "none"
            raise ConfigError(f"{path} has no key {name!r}; its keys: {names}.")
        rows[:] = kept


class KeyRing:
    """The keys of a file, read again whenever it changes.  A file that vanishes or is damaged
    lets nobody in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] | None = None
        self._rows: dict[str, tuple[Key, str, str]] = {}  # id -> key, salt, hash

    def find(self, text: str) -> Key | None:
        """The key that `text` is, if it is valid.

        Raises:
            ConfigError: the file is missing or damaged.
        """
        self._refresh()
        prefix, _, rest = text.partition("_")
        identity, _, _ = rest.partition("_")
        found = self._rows.get(identity)
        if prefix != PREFIX or found is None:
            return None
        key, salt, expected = found
        return key if hmac.compare_digest(_hash(salt, text), expected) else None

    def _refresh(self) -> None:
        try:
            status = self.path.stat()
        except OSError as error:
            self._stamp, self._rows = None, {}
            raise ConfigError(f"the keys {self.path} cannot be read ({error}).") from error
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        if stamp == self._stamp:
            return
        self._stamp, self._rows = None, {}
        self._rows = {
            row["id"]: (
                Key(row["id"], row["name"], frozenset(row["roles"]), row["rate"]),
                row["salt"],
                row["sha256"],
            )
            for row in _read(self.path)
        }
        self._stamp = stamp


def _hash(salt: str, text: str) -> str:
    return hashlib.sha256(f"{salt}{text}".encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_mode & 0o022:
            raise ConfigError(f"others may write {path} and add keys; run `chmod 600 {path}`.")
        rows: list[dict[str, Any]] = orjson.loads(path.read_bytes())["keys"]
        for row in rows:
            _check(row)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} does not exist; make a key with `bridgerec keys add`."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} holds no readable keys ({type(error).__name__}: {error}). Restore it, or "
            "delete it and make new keys."
        ) from error
    return rows


def _check(row: dict[str, Any]) -> None:
    texts = ("id", "name", "created", "salt", "sha256")
    if not all(isinstance(row[field], str) for field in texts):
        raise ValueError("a field of a key is no text")
    if not set(row["roles"]) <= set(ROLES):
        raise ValueError(f"unknown roles {row['roles']}")
    if row["rate"] is not None and not row["rate"] > 0:
        raise ValueError(f"a rate of {row['rate']}")


@contextmanager
def _editing(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows to change; written as a whole, one editor at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):
        rows = _read(path) if path.exists() else []
        yield rows
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(orjson.dumps({"keys": rows}, option=orjson.OPT_INDENT_2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: two editors at once are not kept apart
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
