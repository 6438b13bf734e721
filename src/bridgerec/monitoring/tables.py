"""The raw tables as they are now against what the model was trained on, and against last week.

Event kinds are compared on one event per person, because one person's events resemble each other.
Volumes are compared with earlier windows of the same length, so that weekdays do not count.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from bridgerec.config import Workspace
from bridgerec.data.readers import collect, read_interactions, read_items, scan_table
from bridgerec.errors import DataError
from bridgerec.monitoring.checks import Check, decide, one_each, shares

DAY = 86_400
SHARE = 0.05  # of a catalogue that is new or gone; more is an alarm
WINDOWS = range(4, 13)  # how many earlier windows a volume is compared with


@dataclass(frozen=True)
class Catalogue:
    """Items of a domain now, those that the model does not know, and those that are gone."""

    domain: str
    items: int
    new: int
    vanished: int
    examples: tuple[str, ...]
    drift: bool


@dataclass(frozen=True)
class TableDrift:
    """`columns` are the tables' own columns with their types, and `schema` how they differ from
    the last run's; `problems` are tables that could not be read."""

    catalogues: tuple[Catalogue, ...]
    checks: tuple[Check, ...]
    columns: dict[str, dict[str, str]]
    schema: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def drift(self) -> bool:
        found = [c.drift for c in self.catalogues] + [c.drift for c in self.checks]
        return any(found) or bool(self.schema) or bool(self.problems)

    @property
    def words(self) -> str:
        """What changed, in one sentence."""
        said = [*self.problems, *self.schema]
        for c in self.catalogues:
            if c.drift:
                said.append(
                    f"{c.domain}: {c.new:,} of {c.items:,} items are new to the model and "
                    f"{c.vanished:,} that it knows are gone (for example "
                    f"{', '.join(c.examples)})"
                )
        said += [c.words for c in self.checks if c.drift]
        return ("; ".join(said) if said else "no drift") + "."


def table_drift(
    workspace: Workspace,
    known: pl.DataFrame,
    last_columns: dict[str, dict[str, str]] | None,
    alpha: float,
) -> TableDrift:
    """Compare every domain's tables; `known` are the prepared items (`domain`, `item_id`)."""
    params = workspace.params
    rng = np.random.default_rng(params.seed)
    catalogues, columns, problems = [], {}, []
    found: list[Check | None] = []
    for name, domain in params.data.domains.items():
        try:
            for table in dict.fromkeys((domain.items, domain.interactions)):
                kinds = scan_table(workspace.table(table)).collect_schema()
                columns[table] = {column: str(kind) for column, kind in kinds.items()}
            now = read_items(workspace, name, domain)["item_id"].drop_nulls().unique()
            catalogues.append(_catalogue(name, now, known.filter(domain=name)["item_id"]))
            path = workspace.table(domain.interactions)
            lazy = read_interactions(workspace, name, domain, ("user_id", "timestamp", "kind"))
            if "timestamp" in lazy.collect_schema().names():
                rows = lazy.filter(pl.col("timestamp").is_not_null())
                found += _events(name, rows, path, params.monitoring.window_days, rng)
        except DataError as error:
            problems.append(str(error).rstrip("."))
    return TableDrift(
        tuple(catalogues),
        decide([c for c in found if c is not None], alpha),
        columns,
        tuple(_schema(last_columns, columns)) if last_columns else (),
        tuple(problems),
    )


def _catalogue(name: str, now: pl.Series, known: pl.Series) -> Catalogue:
    new = now.filter(~now.is_in(known.implode())).sort()
    gone = known.filter(~known.is_in(now.implode())).sort()
    drift = len(new) > SHARE * len(now) or len(gone) > SHARE * len(known)
    examples = (*new.head(3), *gone.head(3))
    return Catalogue(name, len(now), len(new), len(gone), examples, drift)


def _schema(before: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> list[str]:
    said = []
    for table in before.keys() & now.keys():
        a, b = before[table], now[table]
        for column in a.keys() | b.keys():
            if a.get(column) != b.get(column):
                change = (
                    "is new" if column not in a
                    else "is gone" if column not in b
                    else f"was {a[column]} and is {b[column]}"
                )  # fmt: skip
                said.append(f"{table}: the column {column} {change} since the last run")
    return sorted(said)


def _events(
    name: str, rows: pl.LazyFrame, path: Any, days: float, rng: np.random.Generator
) -> list[Check | None]:
    """Kinds and volume of the newest window against those before it."""
    length = int(days * DAY)
    last = collect(rows.select(pl.col("timestamp").max()), path).item()
    if last is None:
        return []
    age = (last - pl.col("timestamp")) // length
    counted = collect(rows.group_by(age.alias("age")).len(), path)
    volume = dict(counted.iter_rows())
    # the oldest window may be cut
    checks = [_volume(name, [volume.get(i, 0) for i in range(max(volume))][: WINDOWS.stop])]
    if "kind" in rows.collect_schema().names():
        recent = collect(
            rows.filter(age < 2).select("user_id", "kind", (age == 0).alias("now")).drop_nulls(),
            path,
        )
        kept = recent[one_each(recent["user_id"].to_numpy(), rng)]
        before, now = (
            kept.filter(pl.col("now") == value)["kind"].to_numpy().astype(np.str_)
            for value in (False, True)
        )
        checks.append(shares("event kinds", name, before, now))
    return checks


def _volume(name: str, counts: list[int]) -> Check | None:
    """Student's prediction interval for the newest of some windows, on the logarithm."""
    earlier = np.log1p(counts[1:])
    if len(earlier) < WINDOWS.start:
        return None
    spread = max(float(earlier.std(ddof=1)), 0.05)  # as steady as that is no volume
    now = float(np.log1p(counts[0]))
    t = abs(now - float(earlier.mean())) / (spread * np.sqrt(1 + 1 / len(earlier)))
    usual = float(np.expm1(earlier.mean()))
    effect = abs(counts[0] - usual) / max(counts[0], usual, 1)
    p_value = 2 * float(stats.t.sf(t, len(earlier) - 1))
    return Check(
        "events per window", name, usual, float(counts[0]), effect, 0.3, p_value,
        "relative difference",
    )  # fmt: skip
