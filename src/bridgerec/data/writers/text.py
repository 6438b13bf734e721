"""CSV and JSON lines: the old bytes stay, new lines follow."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import polars as pl

from bridgerec.data.readers.convert import PER_SECOND
from bridgerec.data.writers.addition import Addition

LOOKED_AT = 10_000  # rows that tell how a column is written
ISO = "%Y-%m-%dT%H:%M:%SZ"
_TIMES = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")  # forms without seconds would lose some
Value = Callable[[Any], Any]


def time_text(seconds: int, sample: str | None, unit: str) -> str:
    """A moment as the table writes it, by a `sample` of its times (None: as a number)."""
    if sample is None or _is_number(sample):
        return str(seconds * PER_SECOND[unit])
    moment = datetime.fromtimestamp(seconds, UTC)
    for form in _TIMES:
        try:
            datetime.strptime(sample.strip(), form)
        except ValueError:
            continue
        return moment.strftime(form)
    return moment.strftime(ISO)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(value: Any) -> str:
    """A value as text: nothing for None, whole numbers without a point."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def write_csv(source: Path, target: Path, addition: Addition, present: list[str]) -> None:
    """The columns keep their order; line ends are those of the first line."""
    own, samples = addition.own(present), dict[str, str]()
    with _reading(source) as stream:
        first = stream.readline()
        end = "\r\n" if first.endswith(b"\r\n") else "\n"
    with _reading(source) as stream:
        for number, (row, _) in enumerate(_csv_records(stream)):
            if number and len(row) == len(present):
                for column, text in zip(present, row, strict=True):
                    if text.strip():
                        samples.setdefault(column, text)
            if number == LOOKED_AT or len(samples) == len(present):
                break
    value = _csv_values(own, samples, addition.unit)
    rows, replaced = addition.tables
    with _writing(target, source.suffix == ".gz") as out:
        writer = _CsvLines(out, end)
        if replaced.height:
            _rewrite_csv(source, out, writer, addition, present, value)
        else:
            _copy(source, out, end)
        for new in rows.iter_rows(named=True):
            writer.write([value[c](new[own[c]]) if c in own and own[c] in new else ""
                          for c in present])  # fmt: skip


def _csv_values(own: dict[str, str], samples: dict[str, str], unit: str) -> dict[str, Value]:
    def time(column: str) -> Value:
        sample = samples.get(column)
        return lambda seconds: "" if seconds is None else time_text(seconds, sample, unit)

    return {c: time(c) if name == "timestamp" else _plain for c, name in own.items()}


class _CsvLines:
    """Writes CSV records into a binary stream."""

    def __init__(self, out: BinaryIO, end: str) -> None:
        self._out, self._text = out, io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator=end)

    def write(self, record: list[str]) -> None:
        self._writer.writerow(record)
        self._out.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()


def _rewrite_csv(
    source: Path,
    out: BinaryIO,
    writer: _CsvLines,
    addition: Addition,
    present: list[str],
    value: dict[str, Value],
) -> None:
    own, place = addition.own(present), {c: i for i, c in enumerate(present)}
    key = place[addition.columns.get("item_id", "item_id")]
    domain, places = place.get("domain"), addition.places
    replaced = addition.tables[1].to_dicts()
    with _reading(source) as stream:
        for number, (row, raw) in enumerate(_csv_records(stream)):
            item = row[key] if number and key < len(row) else None
            there = None if domain is None or item is None else row[domain]
            if item is None or item not in places or there not in (None, addition.domain):
                out.write(raw if raw.endswith(b"\n") else raw + b"\n")
                continue
            new = replaced[places[item]]
            writer.write(
                [
                    value[c](new[own[c]]) if c in own and own[c] in new else row[i]
                    for c, i in place.items()
                ]
            )


def _csv_records(stream: BinaryIO) -> Iterator[tuple[list[str], bytes]]:
    """Each record with the bytes that it was read from."""
    raw: list[bytes] = []

    def lines() -> Iterator[str]:
        for line in stream:
            raw.append(line)
            yield line.decode("utf-8-sig" if line.startswith(b"\xef\xbb\xbf") else "utf-8")

    for row in csv.reader(lines()):  # takes no line more than the record has
        yield row, b"".join(raw)
        raw.clear()


def write_jsonl(source: Path, target: Path, addition: Addition, present: list[str]) -> None:
    """New values have the JSON type that the column's first values have."""
    own, samples = addition.own(present), dict[str, Any]()
    with _reading(source) as stream:
        for number, line in enumerate(stream):
            if number == LOOKED_AT or len(samples) == len(own):
                break
            given: dict[str, Any] = json.loads(line) if line.strip() else {}
            for column in own:
                if given.get(column) not in (None, ""):
                    samples.setdefault(column, given[column])
    value = {c: _json_value(name, samples.get(c), addition.unit) for c, name in own.items()}
    rows, replaced = addition.tables

    def record(row: dict[str, Any]) -> dict[str, Any]:
        found = {c: row[name] for c, name in own.items() if name in row}
        return {c: None if v is None else value[c](v) for c, v in found.items()}

    with _writing(target, source.suffix == ".gz") as out:
        if replaced.height:
            _rewrite_jsonl(source, out, addition, replaced, record)
        else:
            _copy(source, out, "\n")
        for row in rows.iter_rows(named=True):
            out.write(_line(record(row)))


def _rewrite_jsonl(
    source: Path,
    out: BinaryIO,
    addition: Addition,
    replaced: pl.DataFrame,
    record: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    key, places = addition.columns.get("item_id", "item_id"), addition.places
    new = replaced.to_dicts()
    with _reading(source) as stream:
        for line in stream:
            row = json.loads(line) if line.strip() else {}
            place = places.get(str(row.get(key)))
            if place is None or row.get("domain") not in (None, addition.domain):
                out.write(line if line.endswith(b"\n") else line + b"\n")
            else:
                out.write(_line({**row, **record(new[place])}))


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _json_value(name: str, sample: Any, unit: str) -> Value:
    text = isinstance(sample, str)
    if name == "timestamp":
        if text:
            return lambda seconds: time_text(seconds, sample, unit)
        return lambda seconds: seconds * PER_SECOND[unit]
    if name in ("value", "price", "position"):
        return _plain if text else lambda number: number
    if isinstance(sample, int) and not isinstance(sample, bool):
        return _id_number
    return str


def _id_number(text: str) -> int | str:
    """An id as a number where that is how it reads again."""
    return int(text) if text.isascii() and text.isdigit() and str(int(text)) == text else text


def _reading(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def _writing(path: Path, packed: bool) -> Iterator[BinaryIO]:
    with path.open("wb") as stream:
        if not packed:
            yield stream
            return
        # the same rows are the same bytes: no time, no name
        with gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as inner:
            yield cast(BinaryIO, inner)


def _copy(source: Path, out: BinaryIO, end: str) -> None:
    """The old bytes, with an end after the last line."""
    last = b"\n"
    with _reading(source) as stream:
        while block := stream.read(1 << 20):
            out.write(block)
            last = block[-1:]
    if last != b"\n":
        out.write(end.encode())
