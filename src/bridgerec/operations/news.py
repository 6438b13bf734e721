"""What the service accepted that the tables do not hold yet."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Domain, Params, Workspace
from bridgerec.data.readers import collect, read_identities, read_interactions, read_items
from bridgerec.errors import DataError
from bridgerec.serving.state import Event, NewItem, Store
from bridgerec.validation.times import PLAUSIBLE

Marks = NDArray[np.bytes_]  # sorted: a hash of everything that was taken in
SIZE = 16
MARK = f"S{SIZE}"
BATCH = 20_000
ROW = {
    "user_id": pl.String,
    "item_id": pl.String,
    "timestamp": pl.Int64,
    "kind": pl.String,
    "value": pl.Float64,
}
ITEM = {
    **dict.fromkeys(("item_id", "title", "description", "category", "brand"), pl.String),
    "image": pl.String,
    "price": pl.Float64,
}
NO_ITEMS = pl.DataFrame(schema=ITEM)
T = TypeVar("T")


@dataclass(frozen=True)
class News:
    """By domain: `rows` are events, the oldest first; `items` are new to the catalogue, `changed`
    ones are known there with other words.  `left` counts by reason what is not taken; `marks` are
    those of what is (without the old ones)."""

    rows: dict[str, pl.DataFrame] = field(default_factory=dict)
    items: dict[str, pl.DataFrame] = field(default_factory=dict)
    changed: dict[str, pl.DataFrame] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    marks: Marks = field(default_factory=lambda: np.zeros(0, MARK))

    def __bool__(self) -> bool:
        return bool(self.rows or self.items or self.changed)


def find_news(workspace: Workspace, store: Store, taken: Marks) -> News:
    """Everything in the store without a mark in `taken` that fits the tables.

    An event waits in the store while its item is in no catalogue, and for good where the tables
    could not hold it; a single bad sender must not keep everybody else's events out.

    Raises:
        TableProblem: a table cannot be read.
    """
    params, left = workspace.params, Counter[str]()
    items, changed, marks = _items(workspace, params, store, taken, left)
    known = {
        name: {*_ids(workspace, name, domain), *(items[name]["item_id"] if name in items else ())}
        for name, domain in params.data.domains.items()
    }
    accounts = _Accounts(workspace, params)
    chunks: dict[str, list[pl.DataFrame]] = {name: [] for name in params.data.domains}
    for batch in _batches(store.all_events(), BATCH):
        own = np.array([_mark("event", e.person, e.event_id) for e in batch], dtype=MARK)
        rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in params.data.domains}
        for e, mark, old in zip(batch, own, has(taken, own), strict=True):
            if old:
                continue
            user = accounts.of(e)
            why = _hindrance(e, user, known)
            if why is not None:
                left[why] += 1
                continue
            rows[e.domain].append((user, e.item_id, e.timestamp, e.kind, e.value))
            marks.append(mark)
        for name, found in rows.items():
            if found:
                chunks[name].append(pl.DataFrame(found, schema=ROW, orient="row"))
    new = {
        name: pl.concat(parts).sort("timestamp", maintain_order=True)
        for name, parts in chunks.items()
        if parts
    }
    return News(
        _placed(workspace, params, new), items, changed, dict(left), np.array(marks, dtype=MARK)
    )


def has(taken: Marks, marks: Marks) -> NDArray[np.bool_]:
    """Which of `marks` are in `taken`, shape of `marks`."""
    if not len(taken):
        return np.zeros(len(marks), dtype=bool)
    place = np.minimum(np.searchsorted(taken, marks), len(taken) - 1)
    found: NDArray[np.bool_] = taken[place] == marks
    return found


def read_marks(path: Path) -> Marks:
    """The marks of a file that `write_marks` wrote; none where there is no file.

    Raises:
        DataError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return np.zeros(0, MARK)
    try:
        column = pq.read_table(path)["mark"].combine_chunks()
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(
            f"{path} is damaged ({error}), so it is not known what was taken in before. Bring back "
            "data/ as its last intake left it: `dvc checkout data.dvc --force`."
        ) from error
    if not len(column):
        return np.zeros(0, MARK)
    found = np.frombuffer(column.buffers()[1], dtype=MARK)
    return found[column.offset : column.offset + len(column)]


def write_marks(path: Path, marks: Marks) -> None:
    """Write marks in order, each once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    once = np.unique(marks)
    content = [None, pa.py_buffer(once.tobytes())]
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(SIZE), len(once), content)
    pq.write_table(pa.table({"mark": column}), path, compression="none", use_dictionary=False)


def _mark(*parts: Any) -> bytes:
    return hashlib.blake2b(orjson.dumps(parts), digest_size=SIZE).digest()


def _batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def _hindrance(event: Event, user: str | None, known: dict[str, set[str]]) -> str | None:
    """Why an event cannot be taken; None: it can."""
    if event.domain not in known:
        return "events of unknown domains"
    if event.item_id not in known[event.domain]:
        return "events of unknown items"
    if user is None:
        return "events of a person whose id is somebody else's account"
    if not user.strip() or not event.item_id.strip():
        return "events with a blank id"
    if not PLAUSIBLE[0] <= event.timestamp <= PLAUSIBLE[1]:
        return "events before 1990 or after 2100"
    return None


def _ids(workspace: Workspace, name: str, domain: Domain) -> list[str]:
    return read_items(workspace, name, domain)["item_id"].drop_nulls().to_list()


class _Accounts:
    """By which id a domain's table names a person: a release knows people, tables have accounts."""

    def __init__(self, workspace: Workspace, params: Params) -> None:
        self._person: dict[tuple[str, str], str] = {}
        self._account: dict[tuple[str, str], str] = {}
        if params.data.identities is not None:
            for domain, account, person in read_identities(
                workspace, params.data.identities
            ).iter_rows():
                self._person.setdefault((domain, account), person)
                self._account.setdefault((domain, person), account)

    def of(self, event: Event) -> str | None:
        """The account; None: the person has none, and the id is another one's."""
        key = (event.domain, event.person)
        if key in self._account:
            return self._account[key]
        return event.person if self._person.get(key, event.person) == event.person else None


def _placed(
    workspace: Workspace, params: Params, new: dict[str, pl.DataFrame]
) -> dict[str, pl.DataFrame]:
    """With a `position` after all others, where tables have positions."""
    newest = []
    for name, domain in params.data.domains.items():
        frame = read_interactions(workspace, name, domain)
        if "position" in frame.collect_schema().names():
            path = workspace.table(domain.interactions)
            newest.append(collect(frame.select(pl.col("position").max()), path).item() or 0)
    if not newest or not new:
        return new
    whole = pl.concat([rows.with_columns(pl.lit(name).alias("of")) for name, rows in new.items()])
    whole = whole.sort("timestamp", maintain_order=True)
    whole = whole.with_columns(position=pl.int_range(1, pl.len() + 1) + int(max(newest)))
    return {name: whole.filter(pl.col("of") == name).drop("of") for name in new}


def _items(
    workspace: Workspace, params: Params, store: Store, taken: Marks, left: Counter[str]
) -> tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame], list[bytes]]:
    """New items, changed ones, and the marks of both."""
    posted: dict[str, list[NewItem]] = {}
    for item in store.all_items():
        if item.domain not in params.data.domains:
            left["items of unknown domains"] += 1
        elif not item.item_id.strip() or not item.title.strip():
            left["items with a blank id or title"] += 1
        else:
            posted.setdefault(item.domain, []).append(item)
    new: dict[str, pl.DataFrame] = {}
    changed: dict[str, pl.DataFrame] = {}
    marks: list[bytes] = []
    for name, items in posted.items():
        domain = params.data.domains[name]
        table = read_items(workspace, name, domain)
        wanted = table.filter(pl.col("item_id").is_in([i.item_id for i in items]))
        old = {row["item_id"]: row for row in wanted.select(*ITEM).to_dicts()}
        folder = workspace.table(domain.items).parent
        rows: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        for item in items:
            before = old.get(item.item_id)
            row = _row(item, folder, "" if before is None else before["image"])
            mark = _mark("item", name, row)
            if row == before or has(taken, np.array([mark], dtype=MARK))[0]:
                continue
            rows[before is not None].append(row)
            marks.append(mark)
        for target, found in zip((new, changed), rows, strict=True):
            if found:
                target[name] = pl.DataFrame(found, schema=ITEM)
    return new, changed, marks


def _row(item: NewItem, folder: Path, image: str) -> dict[str, Any]:
    """The item as a row of a catalogue.  Only a picture that lies in the catalogue's folder is
    named: the service takes any text for one, and a path from outside would be opened here."""
    given = asdict(item)
    path = (folder / (item.image or "")).resolve()
    inside = item.image and path.is_relative_to(folder.resolve()) and path.is_file()
    return {**{name: given[name] for name in ITEM}, "image": item.image if inside else image}
