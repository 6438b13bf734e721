"""Running the reviewed Great Expectations suites of `expectations/` on one table."""

import logging
from pathlib import Path
from typing import Any

import polars as pl

from bridgerec.errors import ConfigError
from bridgerec.runtime import read_json
from bridgerec.validation.derive import COLUMNS, examples
from bridgerec.validation.finding import Finding


class Suites:
    """An ephemeral context: nothing but the Data Docs is written.

    Raises:
        ConfigError: a suite is missing, or an expectation is misspelt or names no column.
    """

    def __init__(self, folder: Path) -> None:
        import great_expectations as gx

        logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # errors are raised
        self.folder = folder
        self.context = gx.get_context(mode="ephemeral")
        self.context.variables.progress_bars = {"globally": False}
        self.source = self.context.data_sources.add_pandas("tables")
        self.entries = {
            kind: _read(folder / f"{kind}.json", known) for kind, known in COLUMNS.items()
        }

    def run(self, kind: str, name: str, frame: pl.DataFrame, n: int) -> tuple[list[Finding], Any]:
        """Findings, and GX's own result for the Data Docs.

        Expectations about columns that this table lacks are left out.  Where a check has a
        critical and a warning limit, the critical one speaks for both.

        Raises:
            ConfigError: an expectation cannot be computed on this table.
        """
        import great_expectations as gx

        present = [e for e in self.entries[kind] if _columns(e) <= set(frame.columns)]
        suite = self.context.suites.add(
            gx.ExpectationSuite(f"{name} {kind}", expectations=[_build(e) for e in present])
        )
        asset = self.source.add_dataframe_asset(f"{name} {kind}")
        batch = asset.add_batch_definition_whole_dataframe("all")
        found = batch.get_batch({"dataframe": frame.to_pandas()}).validate(
            suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": n}
        )
        findings: dict[tuple[str, Any], Finding] = {}
        for result in found.results:
            if result.success:
                continue
            config = result.expectation_config
            reason = _exception(result.exception_info or {})
            if reason:
                raise ConfigError(
                    f"{self.folder / kind}.json: {_label(config.type, config.kwargs)} cannot be "
                    f"computed for {name}: {reason}. Correct its arguments."
                )
            finding = self._finding(result, name, kind, frame, n)
            key = finding.check, config.kwargs.get("column")
            if key not in findings or finding.severity == "critical":
                findings[key] = finding
        return list(findings.values()), found

    def _finding(self, result: Any, name: str, kind: str, frame: pl.DataFrame, n: int) -> Finding:
        config = result.expectation_config
        meta, details = config.meta or {}, result.result or {}
        rows = [i for i in details.get("partial_unexpected_index_list") or [] if isinstance(i, int)]
        values = details.get("partial_unexpected_list") or []
        column = config.kwargs.get("column")
        shown: list[dict[str, Any]] = [{column: v} for v in values[:n]] if column else []
        count = details.get("unexpected_count")
        if count is None:  # about the table or column as a whole
            count, shown = examples(frame, pl.lit(True), n)
        elif column and config.type.endswith("not_be_null"):
            shown = examples(frame, pl.col(column).is_null(), n)[1]
        elif column and config.type.endswith("be_unique"):
            copies = pl.col(column).is_duplicated() & pl.col(column).is_not_null()
            shown = examples(frame, copies, n, together=column)[1]
        elif column in ("duplicate", "mojibake"):
            shown = examples(frame, pl.col(column), n)[1]
        elif rows:
            shown = frame[rows[:n]].to_dicts()
        return Finding(
            name,
            kind,
            meta.get("check", config.type),
            str(getattr(config.severity, "value", config.severity) or "critical"),  # type: ignore[arg-type]
            meta.get("plain", config.type),
            meta.get("remedy", ""),
            int(count),
            frame.height,
            shown,
        )


def _read(path: Path, known: tuple[str, ...]) -> list[dict[str, Any]]:
    """The expectations of one file, each of them understood by Great Expectations."""
    try:
        entries = list(read_json(path)["expectations"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is no readable expectation suite: {error}. Copy it anew from the package."
        ) from error
    for entry in entries:
        try:
            _build(entry)
            unknown = sorted(_columns(entry) - set(known))
        except Exception as error:  # GX raises many kinds, pydantic's among them
            label = (
                _label(entry.get("type"), entry.get("kwargs")) if isinstance(entry, dict) else entry
            )
            reason = " ".join(str(error).split())
            raise ConfigError(f"{path}: {label} is no valid expectation: {reason}.") from error
        if unknown:
            raise ConfigError(
                f"{path}: {_label(entry['type'], entry['kwargs'])} names {unknown}, no column of "
                f"this table. There are: {list(known)}."
            )
    return entries


def _build(entry: dict[str, Any]) -> Any:
    """GX's expectation.  (A whole suite would drop an invalid entry and only log it.)"""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(**entry).to_domain_obj()


def _columns(entry: dict[str, Any]) -> set[str]:
    kwargs = entry["kwargs"]
    single = {kwargs[k] for k in ("column", "column_A", "column_B") if k in kwargs}
    return single | set(kwargs.get("column_list", ()))


def _label(kind: Any, kwargs: Any) -> str:
    column = kwargs.get("column") if isinstance(kwargs, dict) else None
    return f"{kind} (column {column})" if column else str(kind)


def _exception(info: dict[str, Any]) -> str | None:
    """GX's message where an expectation raised; `info` is one record or one per metric."""
    for record in [info, *info.values()]:
        if isinstance(record, dict) and record.get("raised_exception"):
            return str(record.get("exception_message") or "an error").splitlines()[0][:200]
    return None
