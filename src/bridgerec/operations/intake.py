"""What the service accepted since the last time becomes the next version of data/.

The next data/ is built beside the old one (files that do not change are links to the same bytes),
validated there, and then the two exchange their names.  So whoever looks sees the old folder or the
new one, whatever is killed when.  `data/taken.parquet` holds a hash of every event and item that
was taken in: it belongs to the version, so checking out an older one forgets what it does not hold.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bridgerec.config import Workspace
from bridgerec.data.writers import Addition, write_with
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.operations.news import News, find_news, read_marks, write_marks
from bridgerec.pipeline.graph import Busy
from bridgerec.pipeline.versions import add_version, held, version
from bridgerec.registry.store import now
from bridgerec.runtime import atomic_file, read_json, swap_folders, write_json
from bridgerec.serving.state import open_kept

Say = Callable[[str], None]
DATA, TAKEN = "data", "taken.parquet"


@dataclass(frozen=True)
class Taken:
    """What an intake did.  `before` and `after` are DVC's hashes of data/ (equal: nothing was
    new); `rows`, `items` and `changed` count, by domain, events and items that were appended, and
    items whose row was replaced; `left` counts by reason what stays in the service's store."""

    before: str | None
    after: str | None
    rows: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def words(self) -> str:
        """One line for people."""
        parts = []
        for what, counts in (
            ("events", self.rows),
            ("new items", self.items),
            ("changed items", self.changed),
        ):
            if counts:
                each = ", ".join(f"{domain} {n:,}" for domain, n in counts.items())
                parts.append(f"{sum(counts.values()):,} {what} ({each})")
        taken = f"taken in: {', '.join(parts)}" if parts else "nothing new was taken in"
        waiting = ", ".join(f"{n:,} {why}" for why, n in self.left.items())
        return taken + (f"; left in the store: {waiting}" if waiting else "")


def take_in(workspace: Workspace, say: Say = lambda _: None) -> Taken:
    """Append new events and items to the workspace's tables, as a whole or not at all.

    Raises:
        ConfigError: a table lies outside data/, or there is no DVC.
        ValidationFailed: the new data break the data contract; data/ is as it was.
        StateError: the service's store cannot be read.
        Busy: another intake, or a stage that reads data/, is at work.
    """
    _check_places(workspace)
    with _alone(workspace):
        stage = workspace.operations / "intake"
        _recover(workspace, stage)
        before = version(workspace.root)
        news, marks = _look(workspace)
        if news:
            say(f"{sum(f.height for f in news.rows.values()):,} events are new")
            _build(workspace, stage, news, marks)
            _validate(workspace, stage, say)
            _exchange(workspace, stage)
            _record_version(workspace)
            shutil.rmtree(stage, ignore_errors=True)
        counts = {
            name: {domain: frame.height for domain, frame in getattr(news, name).items()}
            for name in ("rows", "items", "changed")
        }
        taken = Taken(before, version(workspace.root), **counts, left=news.left)
        if news:
            _note(workspace, taken)
        say(taken.words)
        return taken


def _check_places(workspace: Workspace) -> None:
    data = workspace.root / DATA
    if data.is_symlink():
        raise ConfigError(f"{data} is a link; an intake needs the folder itself there.")
    for name, domain in workspace.params.data.domains.items():
        for key in ("interactions", "items"):
            path = Path(os.path.normpath(workspace.table(getattr(domain, key))))
            if not path.is_relative_to(data):
                raise ConfigError(
                    f"data.domains.{name}.{key}: {path} lies outside {data}, and only what DVC "
                    "keeps there can get a next version. Move it into data/."
                )


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    workspace.operations.mkdir(parents=True, exist_ok=True)
    with (workspace.operations / "intake.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Busy(f"another intake is at work in {workspace.root}; wait for it.") from error
        yield


def _recover(workspace: Workspace, stage: Path) -> None:
    """Finish, or take back, what a killed intake began."""
    data, aside = workspace.root / DATA, stage / "old"
    if not data.exists() and aside.exists():  # killed between the two renames of `_exchange`
        aside.rename(data)
    if _pending(workspace).exists():
        _record_version(workspace)
    shutil.rmtree(stage, ignore_errors=True)


def _look(workspace: Workspace) -> tuple[News, Any]:
    """What is new, and the marks of what was taken in before."""
    marks = read_marks(workspace.root / DATA / TAKEN)
    store = open_kept(workspace)
    if store is None:
        return News(), marks
    try:
        return find_news(workspace, store, marks), marks
    finally:
        store.close()


def _build(workspace: Workspace, stage: Path, news: News, marks: Any) -> None:
    """The next data/ in `stage`, with what else a workspace needs to be validated."""
    stage.mkdir(parents=True)
    for name in ("params.yaml", "expectations"):
        (stage / name).symlink_to(workspace.root / name)
    shutil.copytree(workspace.root / DATA, stage / DATA, copy_function=_link, symlinks=True)
    data = workspace.params.data
    if data.identities is not None and not (stage / data.identities).exists():
        (stage / data.identities).parent.mkdir(parents=True, exist_ok=True)
        (stage / data.identities).symlink_to(workspace.table(data.identities))
    for name, domain in data.domains.items():
        if name in news.rows:
            addition = Addition(
                news.rows[name],
                columns=domain.interaction_columns,
                domain=name,
                unit=domain.timestamp_unit,
            )
            _rewrite(stage / domain.interactions, addition)
        if name in news.items or name in news.changed:
            changed = news.changed.get(name)
            new = news.items.get(name)
            some = new if new is not None else changed
            assert some is not None
            addition = Addition(
                some if new is not None else some.clear(),
                some.clear() if changed is None else changed,
                columns=domain.item_columns,
                domain=name,
            )
            _rewrite(stage / domain.items, addition)
    with atomic_file(stage / DATA / TAKEN) as path:
        write_marks(path, np.concatenate([marks, news.marks]))


def _link(source: str, target: str) -> None:
    """The same bytes under another name; no file of data/ is ever changed in its place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _rewrite(table: Path, addition: Addition) -> None:
    with atomic_file(table) as path:
        write_with(table, path, addition)
        with path.open("rb") as written:
            os.fsync(written.fileno())


def _validate(workspace: Workspace, stage: Path, say: Say) -> None:
    from bridgerec.validation.run import validate

    validate(Workspace(stage), say, workspace.reports / "intake" / "validation")


def _exchange(workspace: Workspace, stage: Path) -> None:
    data = workspace.root / DATA
    with held(workspace.root, data):
        _pending(workspace).touch()
        try:
            if not swap_folders(stage / DATA, data):
                data.rename(stage / "old")
                (stage / DATA).rename(data)
        except OSError as error:
            raise BridgeRecError(
                f"{data} cannot be replaced ({error}). It must be no mount point, and lie on one "
                f"file system with {stage}."
            ) from error


def _pending(workspace: Workspace) -> Path:
    """Says that data/ may have no version yet."""
    return workspace.operations / "intake.pending"


def _record_version(workspace: Workspace) -> None:
    add_version(workspace.root)
    _pending(workspace).unlink(missing_ok=True)


def _note(workspace: Workspace, taken: Taken) -> None:
    path = workspace.reports / "intake" / "history.json"
    history = read_json(path) if path.is_file() else []
    write_json(path, [*history, {"time": now(), **taken.as_dict()}])
