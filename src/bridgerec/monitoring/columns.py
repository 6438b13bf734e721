"""Evidently's page on the columns of what people asked with.

Evidently's own permutation test of the total variation counts every permutation anew, 5 s of
processor time per column; ours draws the counts themselves and is registered with Evidently.
"""

import html
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bridgerec.monitoring.sample import COLUMNS, Sample
from bridgerec.runtime import atomic_file

PAGE_ROWS = 1000  # more make the page slow
TEST = "total_variation"
PERMUTATIONS = 9999


def compare_columns(
    reference: Sample, current: Sample, threshold: float, page: Path
) -> tuple[list[dict[str, Any]], Any]:
    """Write Evidently's page; return `column, method, p_value, drift` per column, and Evidently's
    own result."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    _register()
    definition = DataDefinition(
        categorical_columns=list(COLUMNS[:-1]), numerical_columns=[COLUMNS[-1]]
    )
    now, then = (
        Dataset.from_pandas(s.frame.head(PAGE_ROWS).to_pandas(), definition)
        for s in (current, reference)
    )
    preset = DataDriftPreset(cat_method=TEST, num_method="ks", threshold=threshold, drift_share=0.5)
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
    return sorted(found, key=lambda c: COLUMNS.index(c["column"])), snapshot


def total_variation(before: "pd.Series[Any]", now: "pd.Series[Any]") -> float:
    """P-value of the total variation distance of two columns, by permutation.

    Permuting labels draws the counts of the second sample from a multivariate hypergeometric
    distribution, so only counts are drawn.
    """
    code, _ = pd.factorize(pd.concat([before, now]))
    counts = np.bincount(code)
    size, rest = len(now), len(before)
    rng = np.random.default_rng(0)
    null = rng.multivariate_hypergeometric(counts, size, PERMUTATIONS, method="marginals")
    drawn = np.vstack([np.bincount(code[rest:], minlength=len(counts)), null])
    distance = np.abs(drawn / size - (counts - drawn) / rest).sum(1) / 2
    # rounding must not decide between equal distances
    return float((distance >= distance[0] - 1e-9).mean())


def _register() -> None:
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    def judge(before: Any, now: Any, _: Any, threshold: float) -> tuple[float, bool]:
        p_value = total_variation(before, now)
        return p_value, p_value < threshold

    test = StatTest(TEST, "total variation, p-value by permutation", [ColumnType.Categorical])
    register_stattest(test, judge)


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
