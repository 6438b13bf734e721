"""The traffic log against the training data: an Evidently page and a few plain words."""

import html
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError, DataError
from bridgerec.monitoring.sample import COLUMNS, Sample, live_sample, training_sample
from bridgerec.monitoring.traffic import Traffic, read_traffic
from bridgerec.monitoring.vectors import VectorDrift, vector_drift
from bridgerec.runtime import atomic_file, atomic_folder, write_json

REFERENCE_ROWS = 5000
PAGE_ROWS = 1000  # Evidently's tests are permutations; more rows cost minutes, not insight


def monitor(workspace: Workspace, out: Path) -> dict[str, Any]:
    """Write `evidently.html`, `summary.json`, `summary.md` under `out`; return the summary.

    One interaction is drawn from each distinct history, of the log and of the training data, so
    that rows are independent.  There is drift when the vectors drifted, or at least half of the
    columns did.

    Raises:
        DataError: no traffic log, or fewer than `monitoring.min_requests` usable requests.
        ArtifactError: the prepared data or the vectors are missing or do not fit together.
    """
    params = workspace.params
    traffic = read_traffic(workspace.traffic)
    histories = traffic.histories()
    least = max(params.monitoring.min_requests, 20)
    if len(histories) < least:
        raise DataError(
            f"{workspace.traffic} has {len(traffic)} requests with {len(histories)} distinct "
            f"histories; at least {least} are needed to judge drift (monitoring.min_requests in "
            "params.yaml). Wait for more traffic, or lower that number."
        )
    items, rows, vectors = _artifacts(workspace)
    rng = np.random.default_rng(params.seed)
    limit = params.service.max_history
    reference = training_sample(items, rows, limit, REFERENCE_ROWS, rng)
    current = live_sample(items, rows, histories, rng)
    confidence = params.monitoring.confidence
    drift = None
    if min((current.items >= 0).sum(), len(reference.items)) >= 10:
        known = current.items[current.items >= 0]
        drift = vector_drift(vectors[reference.items], vectors[known], 1 - confidence, params.seed)
    with atomic_folder(out) as folder:
        columns = _evidently(reference, current, 1 - confidence, folder / "evidently.html")
        summary = _summary(traffic, current, drift, columns)
        text = words(summary)
        _banner(folder / "evidently.html", text)
        write_json(folder / "summary.json", summary)
        with atomic_file(folder / "summary.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
    return summary


def _artifacts(workspace: Workspace) -> tuple[pl.DataFrame, pl.DataFrame, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    paths = [workspace.prepared / "items.parquet", workspace.prepared / "interactions.parquet"]
    path = workspace.vectors / "vectors.safetensors"
    for needed in (*paths, path):
        if not needed.is_file():
            raise ArtifactError(f"{needed} does not exist. Run `bridgerec run`.")
    items, rows = (pl.read_parquet(p) for p in paths)
    try:
        vectors = load_file(path)["vectors"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}). Run the embed stage again."
        ) from error
    if len(vectors) != items.height:
        raise ArtifactError(
            f"{path} has {len(vectors)} vectors for {items.height} items. "
            "Run the embed stage again."
        )
    return items, rows, vectors


def _evidently(
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
        snapshot.save_html(str(page))
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


def _summary(
    traffic: Traffic,
    current: Sample,
    drift: VectorDrift | None,
    columns: list[dict[str, Any]],
) -> dict[str, Any]:
    drifted = [c["column"] for c in columns if c["drift"]]
    return {
        "drift": bool((drift is not None and drift.drift) or 2 * len(drifted) >= len(columns)),
        "requests": len(traffic),
        "histories": len(current.items),
        "files": traffic.files,
        "truncated_lines": traffic.truncated,
        "broken_lines": traffic.broken,
        "unknown_item_share": float((current.items < 0).mean()),
        "first": traffic.requests[0]["time"],
        "last": traffic.requests[-1]["time"],
        "routes": traffic.count("route"),
        "targets": traffic.count("target"),
        "releases": traffic.count("release"),
        "vectors": None if drift is None else asdict(drift),
        "columns": columns,
        "drifted_columns": drifted,
    }


def words(summary: dict[str, Any]) -> str:
    """The summary as Markdown, the conclusion first."""
    vectors, drifted = summary["vectors"], summary["drifted_columns"]
    lines = [
        "# What people ask with has drifted from the training data"
        if summary["drift"]
        else "# No drift: people ask with what the model was trained on",
        "",
        f"- {summary['requests']:,} requests with {summary['histories']:,} distinct histories.",
    ]
    if vectors:
        lines.append(
            f"- Item vectors: {'drifted' if vectors['drift'] else 'no drift'}. A classifier tells "
            f"live from training with AUC {vectors['auc']:.3f} (0.5: it cannot; p = "
            f"{vectors['p_value']:.2g}); the mean moved by {vectors['centroid_shift']:.3f} "
            "(1 - cosine)."
        )
    else:
        lines.append("- Item vectors: not judged, too few items of the log are in the catalogue.")
    lines.append(f"- Columns that drifted: {', '.join(drifted) or 'none'}.")
    if summary["unknown_item_share"]:
        lines.append(f"- {summary['unknown_item_share']:.1%} of the items are in no catalogue.")
    bad = summary["broken_lines"] + summary["truncated_lines"]
    if bad:
        lines.append(
            f"- {bad} lines of the log could not be read ({summary['truncated_lines']} of them cut "
            "off at the end of a file)."
        )
    if summary["drift"]:
        lines += ["", "Retrain with newer interactions, and see whether the gate lets it pass."]
    lines += ["", "| column | p-value | drift |", "|---|---|---|"]
    lines += [
        f"| {c['column']} | {c['p_value']:.3g} | {'yes' if c['drift'] else 'no'} |"
        for c in summary["columns"]
    ]
    return "\n".join(lines) + "\n"


def _banner(page: Path, text: str) -> None:
    """Put the plain words above Evidently's own page."""
    plain = text.split("\n| column")[0].strip().lstrip("# ")
    block = (
        '<pre style="margin:1.5rem auto;max-width:1200px;font:15px/1.5 system-ui,sans-serif;'
        f'white-space:pre-wrap">{html.escape(plain)}</pre>'
    )
    original = page.read_text(encoding="utf-8")
    with atomic_file(page) as temporary:
        temporary.write_text(original.replace("<body>", f"<body>{block}", 1), encoding="utf-8")
