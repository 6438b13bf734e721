"""Are the times times?

The clock is read for one thing: rows after today are in the future, unless
`validation.latest_timestamp` says until when times go.  Days only pass, so data without a finding
have none on any later day either, and no date goes into the report: sound data give the same bytes
whenever they are checked, and with `latest_timestamp` all data do.
"""

import time
from collections.abc import Iterator

import polars as pl

from bridgerec.config import Domain, Params
from bridgerec.data.readers.convert import PER_SECOND
from bridgerec.validation.derive import examples
from bridgerec.validation.finding import Finding

PLAUSIBLE = (631_152_000, 4_102_444_800)  # 1990 to 2100
_DAY = 86_400
_SLACK = 30 * _DAY  # exports of several domains need not end on the same day
_THIN = 20  # a domain that goes on has more than this part of its usual rows


def newest(rows: pl.DataFrame) -> int | None:
    """The newest time of a domain that is not far from its other times."""
    times = _plausible(rows)
    latest = times.filter(times <= _far(times)).max() if len(times) else None
    return None if latest is None else int(latest)  # type: ignore[arg-type]


def check_times(
    name: str, domain: Domain, rows: pl.DataFrame, elsewhere: int | None, params: Params
) -> Iterator[Finding]:
    """One time for all rows, wrong units, impossible and future times.

    `elsewhere` is the newest time of all other domains.
    """
    if "timestamp" not in rows.columns or rows.is_empty():
        return
    n, total = params.validation.examples, rows.height
    everything = (total, total, examples(rows, pl.lit(True), n)[1])
    given = rows["timestamp"].drop_nulls()
    if len(given) > 1 and given.n_unique() == 1:
        critical = "temporal" in params.split.protocols
        yield Finding(
            name, "interactions", "constant_times", "critical" if critical else "warning",
            "all times are the same, so the rows have no order and cannot be split by time",
            f"Map the column that holds each event's time (data.domains.{name}."
            "interaction_columns), or remove `temporal` from split.protocols and gate.protocol",
            len(given), total, examples(rows, pl.col("timestamp").is_not_null(), n)[1],
        )  # fmt: skip
    units = _units(rows)
    if units and domain.timestamp_unit not in units:
        yield Finding(
            name, "interactions", "timestamp_unit", "critical",
            f"timestamps look like {units[0]}, but params.yaml says {domain.timestamp_unit}",
            f"Set data.domains.{name}.timestamp_unit to {units[0]}",
            *everything,
        )  # fmt: skip
        return
    count, shown = examples(rows, ~pl.col("timestamp").is_between(*PLAUSIBLE), n)
    if count:
        yield Finding(
            name, "interactions", "impossible_times", "critical",
            "times before 1990 or after 2100", _remedy(rows, domain.timestamp_unit),
            count, total, shown,
        )  # fmt: skip
    latest, plain = params.validation.latest_timestamp, "times later than the data can hold"
    limit = latest if latest is not None else _limit(rows, elsewhere)
    if limit is None:
        return
    today = time.time() + _DAY  # whatever the time zone
    if latest is None and today < limit:
        limit, plain = today, "times in the future"
    late = pl.col("timestamp").is_between(limit, PLAUSIBLE[1], closed="right")
    count, shown = examples(rows, late, n)
    if count:
        yield Finding(
            name, "interactions", "future_times", "warning" if latest is None else "critical",
            plain,
            "Correct these rows, which would all fall into the test part, or say until when times "
            "go (validation.latest_timestamp, in seconds)",
            count, total, shown,
        )  # fmt: skip


def _remedy(rows: pl.DataFrame, unit: str) -> str:
    """What to do with impossible times: they may be right in another unit than the other rows'."""
    plain = "Correct or remove these rows"
    if "raw_timestamp" not in rows.columns or not rows["raw_timestamp"].dtype.is_numeric():
        return plain
    wrong = rows.filter(~pl.col("timestamp").is_between(*PLAUSIBLE))["raw_timestamp"]
    fits = {u: int((wrong / s).is_between(*PLAUSIBLE).sum()) for u, s in PER_SECOND.items()}
    other, count = max(fits.items(), key=lambda found: found[1])
    if not count:
        return plain
    return f"{plain}; {count:,} would be dates in {other}, the others are in {unit}: use one unit"


def _units(rows: pl.DataFrame) -> list[str]:
    """In which units the times are plausible; none for times that are no numbers."""
    median = rows["raw_timestamp"].median() if "raw_timestamp" in rows.columns else None
    if not isinstance(median, int | float):
        return []
    return [u for u, s in PER_SECOND.items() if PLAUSIBLE[0] <= median / s < PLAUSIBLE[1]]


def _plausible(rows: pl.DataFrame) -> pl.Series:
    if "timestamp" not in rows.columns:
        return pl.Series("timestamp", dtype=pl.Int64)
    return rows["timestamp"].filter(rows["timestamp"].is_between(*PLAUSIBLE))


def _far(times: pl.Series) -> float:
    """Three interquartile ranges after the upper quartile, and a year at least.

    A quarter of the rows would have to be wrong to move it.  A platform that grows ends less
    than one range after the quartile; one that fades by half every year reaches the limit
    after seven years.
    """
    low, high = times.quantile(0.25), times.quantile(0.75)
    assert low is not None and high is not None  # noqa: PT018
    return float(high + max(3 * (high - low), 365 * _DAY))


def _limit(rows: pl.DataFrame, elsewhere: int | None) -> float | None:
    """After this time rows are suspect; None where there are no times.

    Where a domain goes on after all others end, it is believed when the rows there are about
    as dense as in an equally long time before, and suspected when they are a few strays.
    """
    times = _plausible(rows)
    if times.is_empty():
        return None
    far = _far(times)
    if elsewhere is None:
        return far
    ahead = (newest(rows) or 0) - elsewhere
    after = times.is_between(elsewhere + _SLACK, far, closed="right").sum()
    before = times.is_between(elsewhere - ahead, elsewhere).sum()
    return min(far, elsewhere + _SLACK) if _THIN * after < before else far
