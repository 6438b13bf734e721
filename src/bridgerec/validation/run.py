"""The validate stage: every table, every check, one verdict."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from bridgerec.config import Workspace
from bridgerec.data.readers import TableProblem, collect, scan_table
from bridgerec.errors import ValidationFailed
from bridgerec.runtime import atomic_folder, prepare_environment, write_json
from bridgerec.validation import cross, derive, times
from bridgerec.validation.docs import write_docs
from bridgerec.validation.encoding import undecodable_lines
from bridgerec.validation.finding import Finding
from bridgerec.validation.identities import check_identities, check_unlisted
from bridgerec.validation.images import check_images
from bridgerec.validation.languages import check_languages
from bridgerec.validation.report import page, summary_markdown


def validate(
    workspace: Workspace,
    progress: Callable[[str], None] | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Check all tables and write `out` (None: `reports/validation`); return the verdict.

    Raises:
        ValidationFailed: something critical was found (the report is written before).
    """
    prepare_environment()
    from bridgerec.validation.suites import Suites

    params = workspace.params
    suites = Suites(workspace.expectations)
    findings: list[Finding] = []
    sizes: dict[str, dict[str, int]] = {}
    interactions: dict[str, pl.DataFrame] = {}
    results: dict[str, Any] = {}
    n = params.validation.examples
    for name, domain in params.data.domains.items():
        sizes[name] = {"interactions": 0, "items": 0}
        tables: dict[str, pl.DataFrame] = {}
        for kind, read in (("interactions", derive.interactions), ("items", derive.items)):
            try:
                tables[kind], found = read(workspace, name, domain, n)
            except TableProblem as error:
                findings.append(_unusable(workspace, name, kind, error, n))
                continue
            findings += found
            sizes[name][kind] = tables[kind].height
            found, results[f"{name}-{kind}"] = suites.run(kind, name, tables[kind], n)
            findings += found
        if "items" in tables:
            folder = workspace.table(domain.items).parent
            findings += check_images(name, tables["items"], folder, n)
            findings += check_languages(name, tables["items"], n)
        if "interactions" in tables:
            interactions[name] = tables["interactions"]
        if len(tables) == 2:
            findings += cross.check_ids(name, tables["interactions"], tables["items"], params)
        if progress:
            found_rows = " and ".join(f"{n:,} {kind}" for kind, n in sizes[name].items())
            progress(f"{name}: {found_rows}")
    newest = {name: times.newest(rows) for name, rows in interactions.items()}
    for name, rows in interactions.items():
        others = [t for other, t in newest.items() if other != name and t is not None]
        domain = params.data.domains[name]
        findings += times.check_times(name, domain, rows, max(others, default=None), params)
    identities, found = check_identities(workspace, params)
    findings += found
    if identities is not None:
        findings += check_unlisted(params, interactions, identities)
    if identities is not None or params.data.identities is None:
        findings += cross.check_overlap(params, interactions, identities)
    verdict = {
        "passed": not any(f.severity == "critical" for f in findings),
        "tables": sizes,
        "findings": [f.as_dict() for f in findings],
    }
    out = out or workspace.reports / "validation"
    with atomic_folder(out) as folder:
        write_json(folder / "verdict.json", verdict)
        (folder / "summary.md").write_text(summary_markdown(findings, sizes), encoding="utf-8")
        (folder / "summary.html").write_text(page(findings, sizes), encoding="utf-8")
        write_docs(folder / "data_docs", results)
    _announce(findings, out, progress)
    return verdict


def _unusable(workspace: Workspace, name: str, kind: str, error: TableProblem, n: int) -> Finding:
    """A table that cannot be used at all, with those of its rows that show why."""
    count, total = 0, 0
    shown: list[dict[str, Any]] = []
    if error.check == "undecodable":
        count, total, shown = undecodable_lines(error.path, n)
    elif error.check in ("missing_columns", "mistyped_columns"):  # every row is concerned
        frame = scan_table(error.path)
        with suppress(TableProblem):  # its head was text, the rest is none
            rows = collect(frame.head(n), error.path).with_row_index("row", 1)
            shown = [{name: str(value) for name, value in row.items()} for row in rows.to_dicts()]
            count = total = collect(frame.select(pl.len()), error.path).item()
    inside = error.path.is_relative_to(workspace.root)
    path = error.path.relative_to(workspace.root) if inside else error.path
    return Finding(
        name, kind, error.check, "critical", f"{path} {error.problem}", error.remedy,
        count, total, shown,
    )  # fmt: skip


def _announce(findings: list[Finding], out: Path, progress: Callable[[str], None] | None) -> None:
    critical = [f for f in findings if f.severity == "critical"]
    for finding in findings:
        if finding.severity == "warning" and progress:
            progress(f"warning: {finding.line}")
    if critical:
        raise ValidationFailed(
            f"the data have {len(critical)} critical problem(s):\n"
            + "\n".join(f"  {f.line}" for f in critical)
            + f"\nExamples: {out / 'summary.html'}"
        )
