"""What is to be added to a table, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from bridgerec.data.readers import TableProblem, scan_table

EMPTY = pl.DataFrame({"item_id": []}, schema={"item_id": pl.String})


@dataclass(frozen=True)
class Addition:
    """`rows` come after the table's own, `replaced` take the place of the rows with their
    `item_id`.  Both have standard columns and types (texts, `timestamp` in whole seconds, numbers).

    `columns` maps standard names to the table's own, as params.yaml does; `domain` is written where
    the table has such a column; `unit` is that of times that are numbers.  What a table has no
    column for is left out; columns that are not in the rows stay empty (in a replaced row: as
    they are).
    """

    rows: pl.DataFrame
    replaced: pl.DataFrame = field(default_factory=lambda: EMPTY)
    columns: Mapping[str, str] = field(default_factory=dict)
    domain: str = ""
    unit: str = "s"

    def own(self, present: list[str]) -> dict[str, str]:
        """Own column -> standard name, of what is in `present` and in the rows; `domain` is
        `domain`."""
        names = [*self.rows.columns, *self.replaced.columns]
        found = {self.columns.get(name, name): name for name in names}
        if "domain" in present:
            found["domain"] = "domain"
        return {own: name for own, name in found.items() if own in present}

    @property
    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """`rows` and `replaced`, with the column `domain`."""
        domain = pl.lit(self.domain).alias("domain")
        return self.rows.with_columns(domain), self.replaced.with_columns(domain)

    @property
    def places(self) -> dict[str, int]:
        """Item id -> row of `replaced`."""
        return {item: row for row, item in enumerate(self.replaced["item_id"].to_list())}


def write_with(source: Path, target: Path, addition: Addition) -> None:
    """Write the table `source` with the addition to `target`; `source` is not touched.

    Raises:
        TableProblem: the table is missing, unreadable, of an unknown format, or cannot hold a
            value.
    """
    present = scan_table(source).collect_schema().names()
    suffix = next(s for s in reversed(source.suffixes) if s != ".gz")
    try:
        if suffix == ".parquet":
            from bridgerec.data.writers.parquet import write_parquet

            write_parquet(source, target, addition)
        elif suffix == ".csv":
            from bridgerec.data.writers.text import write_csv

            write_csv(source, target, addition, present)
        else:
            from bridgerec.data.writers.text import write_jsonl

            write_jsonl(source, target, addition, present)
    except (ValueError, TypeError) as error:  # also pyarrow's
        raise TableProblem(
            source, "cannot_hold", f"cannot hold what is to be added ({error})",
            "Give the column a wider type, for example text",
        ) from error  # fmt: skip
