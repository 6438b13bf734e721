"""The monitor: the traffic log, the clicks and the tables against what the model was trained on."""

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.data.stored import read_stored
from bridgerec.data.vectors import read_vectors
from bridgerec.errors import DataError
from bridgerec.evaluation.segments import Languages
from bridgerec.monitoring import probe
from bridgerec.monitoring.alerts import send
from bridgerec.monitoring.answers import popularity_percentiles, read_answers
from bridgerec.monitoring.columns import compare_columns, put_above
from bridgerec.monitoring.feedback_log import impressions_and_clicks, read_feedback
from bridgerec.monitoring.history import append, draw
from bridgerec.monitoring.predictions import prediction_drift
from bridgerec.monitoring.quality import Quality, judge_quality, shadow_items
from bridgerec.monitoring.sample import Sample, live_sample, training_sample
from bridgerec.monitoring.tables import table_drift
from bridgerec.monitoring.traffic import Traffic, read_traffic
from bridgerec.monitoring.trend import keep
from bridgerec.monitoring.vectors import VectorVerdict, judge_vectors
from bridgerec.monitoring.words import PARTS, markdown
from bridgerec.runtime import BrokenFile, atomic_file, read_json, write_json

REFERENCE_ROWS = 5000
PREPARED = ("items", "interactions")
WEBHOOK = "BRIDGEREC_WEBHOOK"


def monitor(workspace: Workspace, out: Path) -> dict[str, Any]:
    """Write the report under `out` and tell the webhook of drift; return the summary.

    `summary.md` has the plain words, `summary.json` every number, `evidently.html` the page,
    `history.parquet` a row per run and `trends.svg` its picture; Evidently's UI has every run.
    The four parts (`alarms`) share the probability of a false alarm, 1 - `monitoring.confidence`,
    equally.

    Raises:
        DataError: no traffic log, or fewer than `monitoring.min_requests` usable requests.
        ArtifactError: the prepared data or the vectors are missing or do not fit together, or
            (when all else is written) Evidently's workspace is damaged.
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
    items, rows = _prepared(workspace)
    vectors = read_vectors(workspace, items.height)
    alpha = (1 - params.monitoring.confidence) / len(PARTS)
    rng = np.random.default_rng(params.seed)
    reference = training_sample(items, rows, params.service.max_history, REFERENCE_ROWS, rng)
    current = live_sample(items, rows, histories, rng)
    texts = probe.take(workspace, items, vectors)
    verdict = judge_vectors(
        vectors[reference.items],
        vectors[current.items[current.items >= 0]],
        probe.common(probe.read(out / "probe.safetensors"), texts),
        alpha,
        params.seed,
        one_space=True,
    )
    index = {pair: i for i, pair in enumerate(items.select("domain", "item_id").iter_rows())}
    answers = read_answers(traffic, index)
    count = np.bincount(rows["item"].to_numpy(), minlength=items.height)
    predictions = prediction_drift(
        answers, *answers.windows(params.monitoring.window_days), popularity_percentiles(count),
        alpha, params.seed,
    )  # fmt: skip
    tables = table_drift(workspace, items, _last_columns(out), alpha)
    quality = _quality(workspace, traffic, items, index)
    columns, snapshot = compare_columns(reference, current, alpha, out / "evidently.html")
    drifted = [c["column"] for c in columns if c["drift"]]
    alarms = {
        "vectors": verdict.cause == "data",
        "columns": 2 * len(drifted) >= len(columns),
        "predictions": predictions.drift,
        "tables": tables.drift,
    }
    summary = {
        "drift": any(alarms.values()),
        "alarms": [name for name, raised in alarms.items() if raised],
        **_log(traffic, current),
        **_vectors(verdict),
        "columns": columns,
        "drifted_columns": drifted,
        "predictions": asdict(predictions),
        "predictions_words": predictions.words,
        "tables": asdict(tables),
        "tables_words": tables.words,
        "quality": None if quality is None else asdict(quality),
        "quality_words": "no feedback in the log." if quality is None else quality.words,
    }
    row = _write(out, summary)
    probe.write(out / "probe.safetensors", texts)
    told = _tell(workspace, summary)
    keep(workspace.operations / "evidently", workspace.root.name, snapshot, row)
    return {**summary, "webhook": told}


def _prepared(workspace: Workspace) -> tuple[pl.DataFrame, pl.DataFrame]:
    items, rows = (read_stored(workspace.prepared / f"{n}.parquet") for n in PREPARED)
    return items, rows


def _last_columns(out: Path) -> dict[str, dict[str, str]] | None:
    try:
        found: dict[str, dict[str, str]] = read_json(out / "summary.json")["tables"]["columns"]
    except (OSError, BrokenFile, KeyError, TypeError):
        return None
    return found


def _quality(
    workspace: Workspace,
    traffic: Traffic,
    items: pl.DataFrame,
    index: dict[tuple[str, str], int],
) -> Quality | None:
    feedback = read_feedback(workspace.traffic)
    if not feedback.lines:
        return None
    params = workspace.params
    shown, clicks, names = impressions_and_clicks(traffic, feedback, index)
    languages = Languages.of(Catalogue(items))
    now = max(traffic.requests[-1]["time"], feedback.lines[-1]["time"])
    return judge_quality(
        shown, clicks, params.monitoring.click_window_hours, now,
        shadow_items(traffic, shown, names, index),
        language=np.array(languages.names)[languages.number[shown.item]], seed=params.seed,
    )  # fmt: skip


def _log(traffic: Traffic, current: Sample) -> dict[str, Any]:
    return {
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
    }


def _vectors(verdict: VectorVerdict) -> dict[str, Any]:
    return {
        "vectors": None if verdict.drift is None else asdict(verdict.drift),
        "encoder": None if verdict.encoder is None else asdict(verdict.encoder),
        "vectors_words": verdict.words,
    }


def _write(out: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Write the reports; returns the row of the history."""
    vectors, quality = summary["vectors"] or {}, summary["quality"] or {"segments": []}
    everything = next(iter(quality["segments"]), None)
    row = {
        "checked": time.time(),
        "last": float(summary["last"]),
        "drift": summary["drift"],
        "alarms": ", ".join(summary["alarms"]),
        "requests": summary["requests"],
        "auc": vectors.get("auc"),
        "centroid_shift": vectors.get("centroid_shift"),
        "covariance": vectors.get("covariance"),
        "drifted_columns": len(summary["drifted_columns"]),
        "drifted_predictions": sum(c["drift"] for c in summary["predictions"]["checks"]),
        "unknown_item_share": summary["unknown_item_share"],
    }
    if everything:
        rate, corrected = everything["rate"], everything["corrected"] or {}
        row |= {
            "click_rate": rate["value"],
            "click_rate_low": rate["low"],
            "click_rate_high": rate["high"],
            "corrected_click_rate": corrected.get("value"),
        }
    draw(append(out / "history.parquet", row), out / "trends.svg")
    text = markdown(summary)
    picture = (out / "trends.svg").read_text(encoding="utf-8")
    plain = text.split("\n| ")[0].strip().lstrip("# ")
    put_above(out / "evidently.html", plain, picture)
    write_json(out / "summary.json", summary)
    with atomic_file(out / "summary.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return row


def _tell(workspace: Workspace, summary: dict[str, Any]) -> dict[str, Any] | None:
    """POST the plain words on drift; None where nobody is to be told."""
    url = os.environ.get(WEBHOOK) or workspace.params.monitoring.webhook
    if not url or not summary["drift"]:
        return None
    message = {
        "event": "bridgerec.drift",
        "workspace": workspace.root.name,
        "alarms": summary["alarms"],
        "requests": summary["requests"],
        "text": markdown(summary).split("\n| ")[0].strip().lstrip("# "),
    }
    sent = send(url, message)
    return {**asdict(sent), "words": sent.words}
