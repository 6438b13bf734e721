"""A row per run of the monitor, and a picture of the last ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from bridgerec.errors import ArtifactError
from bridgerec.runtime import atomic_file

SCHEMA = {
    "checked": pl.Float64,  # seconds since 1970
    "last": pl.Float64,  # the newest request
    "drift": pl.Boolean,
    "alarms": pl.String,
    "requests": pl.Int64,
    "auc": pl.Float64,
    "centroid_shift": pl.Float64,
    "covariance": pl.Float64,
    "drifted_columns": pl.Int64,
    "drifted_predictions": pl.Int64,
    "unknown_item_share": pl.Float64,
    "click_rate": pl.Float64,
    "click_rate_low": pl.Float64,
    "click_rate_high": pl.Float64,
    "corrected_click_rate": pl.Float64,
}
PICTURE = {
    "auc": "classifier AUC of item vectors (0.5: no drift)",
    "unknown_item_share": "share of unknown items",
    "click_rate": "clicks per impression",
    "requests": "requests in the log",
}


def append(path: Path, row: dict[str, Any]) -> pl.DataFrame:
    """Add a row and return all; the file is replaced as a whole, so that a run that is killed
    leaves the old one.

    Raises:
        ArtifactError: the file is damaged.
    """
    new = pl.DataFrame([row], schema=SCHEMA)
    found = new
    if path.is_file():
        try:
            old = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ArtifactError(
                f"{path} is damaged ({error}). Move it away; the next run begins a new history."
            ) from error
        found = pl.concat([old, new], how="diagonal_relaxed")
    with atomic_file(path) as temporary:
        found.write_parquet(temporary)
    return found


def draw(history: pl.DataFrame, path: Path, runs: int = 60) -> None:
    """The last runs as SVG: a panel per number, red dots where there was an alarm."""
    shown = history.tail(runs)
    panels = [
        _panel(shown[column].to_list(), shown["drift"].to_list(), title, 130 * i)
        for i, (column, title) in enumerate(PICTURE.items())
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {130 * len(panels) + 10}"'
    body = "\n".join(panels)
    with atomic_file(path) as temporary:
        temporary.write_text(
            f'{head} font-size="12" font-family="sans-serif" style="background:#fff">\n'
            f"{body}\n</svg>\n",
            encoding="utf-8",
        )


def _panel(values: Sequence[float | None], drift: Sequence[bool], title: str, top: int) -> str:
    known = [v for v in values if v is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    span = (high - low) or 1.0
    step = 660 / max(len(values) - 1, 1)
    points = [
        (60 + step * i, top + 105 - 70 * (v - low) / span, bad)
        for i, (v, bad) in enumerate(zip(values, drift, strict=True))
        if v is not None
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{"#d33" if bad else "#4269d0"}"/>'
        for x, y, bad in points
    )
    return (
        f'<text x="60" y="{top + 20}" font-weight="bold">{title}</text>'
        f'<text x="52" y="{top + 39}" text-anchor="end">{high:.4g}</text>'
        f'<text x="52" y="{top + 109}" text-anchor="end">{low:.4g}</text>'
        f'<line x1="60" x2="720" y1="{top + 105}" y2="{top + 105}" stroke="#ddd"/>'
        f'<polyline points="{line}" fill="none" stroke="#4269d0" stroke-width="1.5"/>{dots}'
    )
