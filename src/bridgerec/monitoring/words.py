"""The monitor's summary as Markdown, the conclusion first."""

from typing import Any

PARTS = {
    "vectors": "what people met (item vectors)",
    "columns": "what people met (columns)",
    "predictions": "the answers",
    "tables": "the tables",
}


def markdown(summary: dict[str, Any]) -> str:
    """`summary` as `report.monitor` makes it."""
    alarms = [PARTS[a] for a in summary["alarms"]]
    lines = [
        f"# What people ask with has drifted from the training data: {', '.join(alarms)}"
        if summary["drift"]
        else "# No drift: people ask with what the model was trained on",
        "",
        f"- {summary['requests']:,} requests, of about {summary['histories']:,} people with a "
        "history.",
        f"- Item vectors: {summary['vectors_words']}",
        f"- Columns that drifted: {', '.join(summary['drifted_columns']) or 'none'}.",
        f"- Answers: {summary['predictions_words']}",
        f"- Tables: {summary['tables_words']}",
        f"- Clicks: {summary['quality_words']}",
    ]
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
    return "\n".join([*lines, *_checks(summary), *_segments(summary), *_catalogues(summary)]) + "\n"


def _checks(summary: dict[str, Any]) -> list[str]:
    checks = summary["predictions"]["checks"] + summary["tables"]["checks"]
    if not checks:
        return []
    lines = ["", "| check | of | before | now | effect | alarm from | p, adjusted | drift |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    return lines + [
        f"| {c['name']} | {c['segment']} | {c['reference']:.4g} | {c['current']:.4g} "
        f"| {c['unit']} {c['effect']:.3g} | {c['floor']:g} | {c['adjusted']:.2g} "
        f"| {'yes' if c['drift'] else 'no'} |"
        for c in checks
    ]


def _segments(summary: dict[str, Any]) -> list[str]:
    quality = summary["quality"]
    if not quality or not quality["segments"]:
        return []
    lines = ["", "| impressions of | number | clicked | if all were looked at |"]
    lines.append("|---|---|---|---|")
    for s in quality["segments"]:
        rate, corrected = s["rate"], s["corrected"]
        name = "all" if s["kind"] == "all" else f"{s['kind']} {s['name']}"
        lines.append(
            f"| {name} | {rate['impressions']:,} | {_interval(rate)} "
            f"| {_interval(corrected) if corrected else 'not known'} |"
        )
    return lines


def _interval(rate: dict[str, Any]) -> str:
    return f"{rate['value']:.2%} ({rate['low']:.2%} to {rate['high']:.2%})"


def _catalogues(summary: dict[str, Any]) -> list[str]:
    found = summary["tables"]["catalogues"]
    if not found:
        return []
    lines = ["", "| catalogue | items | new to the model | gone |", "|---|---|---|---|"]
    return lines + [
        f"| {c['domain']} | {c['items']:,} | {c['new']:,} | {c['vanished']:,} |" for c in found
    ]
