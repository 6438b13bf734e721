"""The verdict in plain words: Markdown, and one page to look at."""

import html
from typing import Any

from bridgerec.validation.finding import Finding


def summary_markdown(findings: list[Finding], tables: dict[str, dict[str, int]]) -> str:
    """What was looked at and what was found, critical things first."""
    critical = sum(f.severity == "critical" for f in findings)
    lines = ["# Data validation", ""]
    if not findings:
        lines.append("All checks passed.")
    else:
        lines.append(
            f"{critical} critical finding(s), {len(findings) - critical} warning(s)."
            + (" The pipeline stops until the critical ones are solved." if critical else "")
        )
    lines += ["", "| domain | interactions | items |", "|---|---|---|"]
    lines += [f"| {d} | {t['interactions']:,} | {t['items']:,} |" for d, t in tables.items()]
    for finding in sorted(findings, key=lambda f: f.severity):
        lines += ["", f"## {finding.severity}: {finding.check}", "", finding.line]
        lines += [f"- `{row}`" for row in finding.examples]
    return "\n".join(lines) + "\n"


def page(findings: list[Finding], tables: dict[str, dict[str, int]]) -> str:
    """A self-contained page with the same content."""
    rows = "".join(
        f"<tr><td>{html.escape(d)}<td>{t['interactions']:,}<td>{t['items']:,}"
        for d, t in tables.items()
    )
    cards = "".join(
        f'<section class="{f.severity}"><h2>{f.severity}: {html.escape(f.check)}</h2>'
        f"<p>{html.escape(f.line)}</p>{_table(f.examples)}</section>"
        for f in sorted(findings, key=lambda f: f.severity)
    )
    verdict = "All checks passed." if not findings else f"{len(findings)} finding(s)."
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>BridgeRec · data</title>
<style>:root{{color-scheme:light dark}}body{{font:15px/1.5 system-ui,"Noto Sans CJK SC",sans-serif;
max-width:960px;margin:2em auto;padding:0 1em}}table{{border-collapse:collapse;font-size:13px}}
td,th{{border:1px solid #8886;padding:3px 9px;text-align:left}}section{{border-left:5px solid #c8a02a;
padding:2px 16px;margin:18px 0;overflow-x:auto}}section.critical{{border-color:#c0392b}}h2{{font-size:16px}}</style>
<h1>Data validation</h1><p>{verdict} Details of every expectation: <a href="data_docs/index.html">Data Docs</a>.</p>
<table><tr><th>domain<th>interactions<th>items{rows}</table>{cards}</html>
"""


def _table(examples: list[dict[str, Any]]) -> str:
    if not examples:
        return ""
    columns = list(examples[0])
    head = "".join(f"<th>{html.escape(str(c))}" for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(row.get(c, ''))[:80])}" for c in columns)
        for row in examples
    )
    return f"<table><tr>{head}{body}</table>"
