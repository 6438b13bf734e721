"""The evaluation as one self-contained page: charts first, tables behind them."""

import html
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from bridgerec.evaluation.segments import by_language
from bridgerec.runtime import atomic_file


def write_page(path: Path, metrics: dict[str, Any], comparisons: list[dict[str, Any]]) -> None:
    """Fill the template with the test results (no sampled figures but those at k = 10)."""
    data = {
        "test": _trim(metrics["test"]),
        "splits": metrics["info"]["splits"],
        "people": metrics["info"]["people"]["test"],
        "drawn_from": metrics["info"].get("drawn_from", {}).get("test", {}),
        "confidence": metrics["info"]["confidence"],
        "seeds": metrics["info"]["seeds"],
        "comparisons": [_rounded(row) for row in comparisons],
    }
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    template = (files("bridgerec.templates") / "evaluation.html").read_text(encoding="utf-8")
    page = template.replace("/*HEADLINE*/", headline(metrics, comparisons)).replace(
        "/*DATA*/",
        text.replace("</", "<\\/"),  # a title must not end the script
    )
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def headline(metrics: dict[str, Any], comparisons: list[dict[str, Any]]) -> str:
    """Plain sentences: who leads where, and whether that is more than chance."""
    lines = []
    for split, candidates in metrics["test"].items():
        for target in sorted({t for targets in candidates.values() for t in targets}):
            values = {
                c: targets[target]["all"]["ndcg@10"]["value"]
                for c, targets in candidates.items()
                if "ndcg@10" in targets.get(target, {}).get("all", {})
            }
            if len(values) < 2:
                continue
            best, second = sorted(values, key=lambda c: -values[c])[:2]
            row = next(
                (
                    r
                    for r in comparisons
                    if (r["split"], r["target"], r["candidate"], r["against"])
                    == (split, target, best, second)
                ),
                None,
            )
            sure = "within the noise of" if row is None or row["low"] <= 0 else "clearly ahead of"
            text = f"{best} leads with NDCG@10 {values[best]:.4f}, {sure} {second}."
            alone = [c for c in values if c == "ease_target"]
            if alone and values[best] <= values["ease_target"]:
                text += " No cross-domain model beats EASE on the target alone."
            languages = by_language(candidates[best][target], "ndcg@10")
            if languages:
                told = (f"{name} {cell['value']:.4f}" for name, cell in languages.items())
                text += f" By language: {', '.join(told)}."
            name = f"{split} → {target}"
            lines.append(f"<li><b>{html.escape(name)}</b>: {html.escape(text)}</li>")
    return "\n".join(lines)


def _trim(test: dict[str, Any]) -> dict[str, Any]:
    return {
        split: {
            c: {
                t: {
                    segment: {
                        m: _rounded(v) for m, v in found.items() if "sampled" not in m or "@10" in m
                    }
                    for segment, found in segments.items()
                }
                for t, segments in targets.items()
            }
            for c, targets in candidates.items()
        }
        for split, candidates in test.items()
    }


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
