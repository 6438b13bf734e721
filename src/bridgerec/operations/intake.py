"""What the service accepted since the last time becomes the next version of data/.

The next data/ is built beside the old one (files that do not change are links to the same bytes),
validated there, and then the two exchange their names.  So whoever looks sees the old folder or the
new one, whatever is killed when.  `data/taken.parquet` holds a hash of every event and item that
was taken in: it belongs to the version, so checking out an older one forgets what it does not hold.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bridgerec.config import Workspace
from bridgerec.data.writers import Addition, write_with
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.operations.news import NO_ITEMS, Marks, News, find_news, read_marks, write_marks
from bridgerec.operations.state import alone
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

    def and_then(self, later: "Taken") -> "Taken":
        """Both as one."""
        counts = {
            name: dict(Counter(getattr(self, name)) + Counter(getattr(later, name)))
            for name in ("rows", "items", "changed")
        }
        return Taken(self.before, later.after, **counts, left=later.left)

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
    busy = Busy(f"another intake is at work in {workspace.root}; wait for it.")
    with alone(workspace, "intake.lock", busy):
        staged = Staged(workspace.operations / "intake", workspace.root)
        finished = _recover(workspace, staged)
        before = version(workspace.root)
        news, marks = _look(workspace)
        counts = {
            name: {domain: frame.height for domain, frame in getattr(news, name).items()}
            for name in ("rows", "items", "changed")
        }
        taken = Taken(before, before, **counts, left=news.left)
        if news:
            say(f"{sum(taken.rows.values()):,} events are new")
            _build(workspace, staged, news, marks)
            _validate(workspace, staged, say)
            _exchange(workspace, staged, taken)
            taken = _record(workspace, taken)
            shutil.rmtree(staged.root, ignore_errors=True)
        taken = taken if finished is None else finished.and_then(taken)
        say(taken.words)
        return taken


@dataclass(frozen=True)
class Staged(Workspace):
    """The workspace `real` as it will be: with the next data/ under `root`."""

    real: Path

    def table(self, path: str) -> Path:
        place = Path(os.path.normpath(self.real / path))
        inside = place.is_relative_to(self.real / DATA)
        return self.root / place.relative_to(self.real) if inside else place


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


def _recover(workspace: Workspace, staged: Staged) -> Taken | None:
    """Finish, or take back, what a killed intake began; what was finished, if anything."""
    data, aside = workspace.root / DATA, staged.root / "old"
    if not data.exists() and aside.exists():  # killed between the two renames of `_exchange`
        aside.rename(data)
    shutil.rmtree(staged.root, ignore_errors=True)
    pending = _pending(workspace)
    if not pending.exists():
        return None
    taken = _record(workspace, Taken(**read_json(pending)))
    return taken if taken.after != taken.before else None


def _look(workspace: Workspace) -> tuple[News, Marks]:
    """What is new, and the marks of what was taken in before."""
    marks = read_marks(workspace.root / DATA / TAKEN)
    store = open_kept(workspace)
    if store is None:
        return News(), marks
    try:
        return find_news(workspace, store, marks), marks
    finally:
        store.close()


def _build(workspace: Workspace, staged: Staged, news: News, marks: Marks) -> None:
    """The next data/, with what else a workspace needs to be validated."""
    staged.root.mkdir(parents=True)
    for name in ("params.yaml", "expectations"):
        (staged.root / name).symlink_to(workspace.root / name)
    shutil.copytree(workspace.root / DATA, staged.root / DATA, copy_function=_link, symlinks=True)
    for name, domain in workspace.params.data.domains.items():
        if name in news.rows:
            addition = Addition(
                news.rows[name],
                columns=domain.interaction_columns,
                domain=name,
                unit=domain.timestamp_unit,
            )
            _rewrite(staged.table(domain.interactions), addition)
        if name in news.items or name in news.changed:
            items = news.items.get(name, NO_ITEMS)
            changed = news.changed.get(name, NO_ITEMS)
            _rewrite(
                staged.table(domain.items),
                Addition(items, changed, columns=domain.item_columns, domain=name),
            )
    with atomic_file(staged.root / DATA / TAKEN) as path:
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


def _validate(workspace: Workspace, staged: Staged, say: Say) -> None:
    from bridgerec.validation.run import validate

    validate(staged, say, workspace.reports / "intake" / "validation")


def _exchange(workspace: Workspace, staged: Staged, taken: Taken) -> None:
    data, new = workspace.root / DATA, staged.root / DATA
    with held(workspace.root, data):
        write_json(_pending(workspace), taken.as_dict())
        try:
            if not swap_folders(new, data):
                data.rename(staged.root / "old")
                new.rename(data)
        except OSError as error:
            raise BridgeRecError(
                f"{data} cannot be replaced ({error}). It must be no mount point, and lie on one "
                f"file system with {staged.root}."
            ) from error


def _pending(workspace: Workspace) -> Path:
    """What was (or was about to be) taken in, until it has its version."""
    return workspace.operations / "intake.json"


def _record(workspace: Workspace, taken: Taken) -> Taken:
    """Give data/ its version, and note in the history how it came about."""
    taken = replace(taken, after=add_version(workspace.root))
    path = workspace.reports / "intake" / "history.json"
    history = read_json(path) if path.is_file() else []
    noted = bool(history) and history[-1]["after"] == taken.after
    if taken.after != taken.before and not noted:
        write_json(path, [*history, {"time": now(), **taken.as_dict()}])
    _pending(workspace).unlink(missing_ok=True)
    return taken
