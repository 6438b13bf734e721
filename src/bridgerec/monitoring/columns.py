"""Evidently's page on the columns of what people asked with."""

import html
from pathlib import Path
from typing import Any

import numpy as np

from bridgerec.monitoring.sample import COLUMNS, Sample
from bridgerec.runtime import atomic_file

PAGE_ROWS = 1000  # Evidently's tests are permutations; more rows cost minutes, not insight


def compare_columns(
    reference: Sample, current: Sample, threshold: float, page: Path
) -> list[dict[str, Any]]:
    """Write Evidently's page; return `column, method, p_value, drift` per column."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(
        categorical_columns=list(COLUMNS[:-1]), numerical_columns=[COLUMNS[-1]]
    )
    now, then = (
        Dataset.from_pandas(s.frame.head(PAGE_ROWS).to_pandas(), definition)
        for s in (current, reference)
    )
    preset = DataDriftPreset(
        cat_method="TVD", num_method="ks", threshold=threshold, drift_share=0.5
    )
    # its permutations draw from numpy's global state
    np.random.seed(0)  # noqa: NPY002
    # Evidently correlates columns that may be constant; the nan it gets is what it expects
    with np.errstate(divide="ignore", invalid="ignore"):
        snapshot = Report([preset]).run(now, then)
        with atomic_file(page) as temporary:
            snapshot.save_html(str(temporary))
    found = []
    for metric in snapshot.dict()["metrics"]:
        if "column" in metric["config"]:
            p_value = float(metric["value"])
            found.append(
                {
                    "column": metric["config"]["column"],
                    "method": metric["config"]["method"],
                    "p_value": p_value,
                    "drift": p_value < threshold,
                }
            )
    return sorted(found, key=lambda c: COLUMNS.index(c["column"]))


def put_above(page: Path, text: str, picture: str) -> None:
    """Put the plain words and the trends above Evidently's own page."""
    block = (
        '<div style="margin:1.5rem auto;max-width:1200px;font:15px/1.5 system-ui,sans-serif">'
        f'<div style="white-space:pre-wrap">{html.escape(text)}</div>'
        f"<details><summary>The last runs</summary>{picture}</details></div>"
    )
    original = page.read_text(encoding="utf-8")
    with atomic_file(page) as temporary:
        temporary.write_text(original.replace("<body>", f"<body>{block}", 1), encoding="utf-8")
