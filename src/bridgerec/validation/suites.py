"""Running the reviewed Great Expectations suites of `expectations/` on one table."""

from pathlib import Path
from typing import Any

import polars as pl

from bridgerec.errors import ConfigError
from bridgerec.runtime import read_json
from bridgerec.validation.derive import examples
from bridgerec.validation.finding import Finding


class Suites:
    """An ephemeral context: nothing but the Data Docs is written."""

    def __init__(self, folder: Path) -> None:
        import great_expectations as gx

        self.folder = folder
        self.context = gx.get_context(mode="ephemeral")
        self.context.variables.progress_bars = {"globally": False}
        self.source = self.context.data_sources.add_pandas("tables")

    def run(self, kind: str, name: str, frame: pl.DataFrame, n: int) -> tuple[list[Finding], Any]:
        """Findings, and GX's own result for the Data Docs.

        Raises:
            ConfigError: the suite is missing or Great Expectations does not understand it.
        """
        import great_expectations as gx
        from great_expectations.exceptions import GreatExpectationsError

        path = self.folder / f"{kind}.json"
        try:
            content = read_json(path)
            present = [
                e
                for e in content["expectations"]
                if e["kwargs"].get("column") in {None, *frame.columns}
            ]
            suite = self.context.suites.add(
                gx.ExpectationSuite(f"{name} {kind}", expectations=present)
            )
        except (OSError, ValueError, KeyError, TypeError, GreatExpectationsError) as error:
            raise ConfigError(f"{path} is no readable expectation suite: {error}") from error
        asset = self.source.add_dataframe_asset(f"{name} {kind}")
        batch = asset.add_batch_definition_whole_dataframe("all")
        found = batch.get_batch({"dataframe": frame.to_pandas()}).validate(
            suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": n}
        )
        return [
            self._finding(r, name, kind, frame, n) for r in found.results if not r.success
        ], found

    def _finding(self, result: Any, name: str, kind: str, frame: pl.DataFrame, n: int) -> Finding:
        config = result.expectation_config
        meta, details = config.meta or {}, result.result or {}
        rows = [i for i in details.get("partial_unexpected_index_list") or [] if isinstance(i, int)]
        values = details.get("partial_unexpected_list") or []
        column = config.kwargs.get("column")
        shown: list[dict[str, Any]] = [{column: v} for v in values[:n]] if column else []
        if column and config.type.endswith("not_be_null"):
            shown = examples(frame, pl.col(column).is_null(), n)[1]
        elif column and config.type.endswith("be_unique"):
            shown = examples(frame, pl.col(column).is_duplicated(), n)[1]
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
            int(details.get("unexpected_count") or 0),
            frame.height,
            shown,
        )
