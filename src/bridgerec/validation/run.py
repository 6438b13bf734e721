"""The validate stage: every table, every check, one verdict."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from bridgerec.config import Workspace
from bridgerec.errors import DataError, ValidationFailed
from bridgerec.runtime import atomic_folder, prepare_environment, write_json
from bridgerec.validation import cross, derive
from bridgerec.validation.docs import write_docs
from bridgerec.validation.finding import Finding
from bridgerec.validation.report import page, summary_markdown


def validate(workspace: Workspace, progress: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Check all tables and write `reports/validation`; return the verdict.

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
                tables[kind] = read(workspace, name, domain)
            except (DataError, pl.exceptions.PolarsError) as error:
                text = str(error).replace(f"{workspace.root}/", "")
                findings.append(
                    Finding(name, kind, "unreadable", "critical", text, "Correct the table")
                )
                continue
            sizes[name][kind] = tables[kind].height
            found, results[f"{name}-{kind}"] = suites.run(kind, name, tables[kind], n)
            findings += found
        if "interactions" in tables:
            interactions[name] = tables["interactions"]
            findings += cross.check_times(name, domain, tables["interactions"], params)
        if len(tables) == 2:
            findings += cross.check_ids(name, tables["interactions"], tables["items"], params)
        if progress:
            found_rows = " and ".join(f"{n:,} {kind}" for kind, n in sizes[name].items())
            progress(f"{name}: {found_rows}")
    findings += cross.check_overlap(workspace, params, interactions)
    verdict = {
        "passed": not any(f.severity == "critical" for f in findings),
        "tables": sizes,
        "findings": [f.as_dict() for f in findings],
    }
    out = workspace.reports / "validation"
    with atomic_folder(out) as folder:
        write_json(folder / "verdict.json", verdict)
        (folder / "summary.md").write_text(summary_markdown(findings, sizes), encoding="utf-8")
        (folder / "summary.html").write_text(page(findings, sizes), encoding="utf-8")
        write_docs(folder / "data_docs", results)
    _announce(findings, out, progress)
    return verdict


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
