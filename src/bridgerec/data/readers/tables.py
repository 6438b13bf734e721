"""Tables of any supported format, renamed to the standard columns and given standard types."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from bridgerec.config import Domain, Workspace
from bridgerec.data import schema
from bridgerec.data.readers.convert import amount, interaction_types, text_id
from bridgerec.data.readers.scan import TableProblem, collect, scan_table


def _standard_columns(
    path: Path, mapping: dict[str, str], known: Iterable[str], domain: str, keys: str
) -> pl.LazyFrame:
    """Select and rename the columns of a table.

    When the table has a column `domain`, only the rows of `domain` are kept, so that several
    domains may share one file.

    Raises:
        TableProblem: the mapping names an unknown standard column or one the table lacks, or a
            column (of Parquet) holds no single values.
    """
    frame = scan_table(path)
    present = frame.collect_schema().names()
    wrong = sorted(set(mapping) - set(known))
    if wrong:
        raise TableProblem(
            path, "wrong_mapping", f"is mapped to columns that do not exist: {wrong}",
            f"Under {keys} in params.yaml only these may stand on the left: {list(known)}",
        )  # fmt: skip
    absent = sorted(column for column in mapping.values() if column not in present)
    if absent:
        raise TableProblem(
            path, "missing_columns",
            f"has no column(s) {absent}, which params.yaml maps. Found: {present}",
            f"Correct the names under {keys}",
        )  # fmt: skip
    if "domain" in present:
        frame = frame.filter(pl.col("domain").cast(pl.String) == domain)
    own = {name: mapping.get(name, name) for name in known}
    frame = frame.select(pl.col(own[n]).alias(n) for n in own if own[n] in present)
    for column, kind in frame.collect_schema().items():
        if kind.is_nested() or kind == pl.Binary:
            raise TableProblem(
                path, "mistyped_columns",
                f"has values of type {kind} in the column {own[column]!r}",
                "Write one text or number per row; the parts of a list, for example, as one text "
                "with commas",
            )  # fmt: skip
    return frame


def _require(frame: pl.LazyFrame, names: Iterable[str], path: Path, keys: str | None) -> None:
    present = frame.collect_schema().names()
    absent = [name for name in names if name not in present]
    if absent:
        found = scan_table(path).collect_schema().names()
        mapping = f", or map them in params.yaml, as in `{keys}: {{{absent[0]}: THE_COLUMN}}`"
        raise TableProblem(
            path, "missing_columns", f"lacks the column(s) {absent}. Found: {found}",
            f"Rename the columns{mapping if keys else ''}",
        )  # fmt: skip


def raw_interactions(workspace: Workspace, name: str, domain: Domain) -> pl.LazyFrame:
    """Interactions of one domain with standard names and the types of the file.

    Raises:
        TableProblem: a required column is missing, or there is neither timestamp nor position.
    """
    path, keys = workspace.table(domain.interactions), f"data.domains.{name}.interaction_columns"
    frame = _standard_columns(
        path, domain.interaction_columns, schema.INTERACTION_COLUMNS, name, keys
    )
    _require(frame, schema.INTERACTION_REQUIRED, path, keys)
    if not set(schema.INTERACTION_ORDER) & set(frame.collect_schema().names()):
        _require(frame, ["timestamp"], path, keys)
    return frame


def typed_interactions(frame: pl.LazyFrame, domain: Domain, path: Path) -> pl.LazyFrame:
    """Standard types for `raw_interactions`; a value that does not fit its type is null."""
    types = interaction_types(frame.collect_schema(), domain.timestamp_unit, path)
    return frame.select(types.values())


def read_interactions(
    workspace: Workspace, name: str, domain: Domain, columns: Iterable[str] | None = None
) -> pl.LazyFrame:
    """Interactions of one domain: `user_id, item_id` as text (null where blank), `timestamp` in
    whole seconds (UTC), `kind` as text, `value` as float, `position` as integer.

    Absent columns stay absent; a value that does not fit its type is null.

    Raises:
        TableProblem: a required column is missing, or there is neither timestamp nor position.
    """
    frame = raw_interactions(workspace, name, domain)
    typed = typed_interactions(frame, domain, workspace.table(domain.interactions))
    present = frame.collect_schema().names()
    return typed.select(c for c in columns or schema.INTERACTION_COLUMNS if c in present)


def raw_items(workspace: Workspace, name: str, domain: Domain) -> pl.LazyFrame:
    """The catalogue of one domain with standard names and the types of the file.

    Raises:
        TableProblem: the file is missing or unreadable, or lacks a required column.
    """
    path, keys = workspace.table(domain.items), f"data.domains.{name}.item_columns"
    frame = _standard_columns(path, domain.item_columns, schema.ITEM_COLUMNS, name, keys)
    _require(frame, schema.ITEM_REQUIRED, path, keys)
    return frame


def typed_items(frame: pl.LazyFrame) -> pl.LazyFrame:
    """All standard columns, with standard types, for `raw_items`: texts, null where there is none
    or a blank `item_id`.  But `price` is a float, null where it is missing, negative or no number;
    and `language` is there only where the table has it."""
    kinds = frame.collect_schema()
    texts = [
        (pl.col(c).cast(pl.String) if c in kinds else pl.lit(None, pl.String)).alias(c)
        for c in schema.ITEM_COLUMNS
        if c not in ("item_id", "price") and (c != "language" or c in kinds)
    ]
    price = amount("price", kinds["price"]) if "price" in kinds else pl.lit(None, pl.Float64)
    return frame.select(text_id("item_id"), *texts, price.alias("price"))


def read_items(workspace: Workspace, name: str, domain: Domain) -> pl.DataFrame:
    """The catalogue of one domain as `typed_items`, but any missing text besides the id is "".

    Raises:
        TableProblem: as `raw_items`.
    """
    frame = typed_items(raw_items(workspace, name, domain))
    return collect(
        frame.with_columns(pl.col(pl.String).exclude("item_id").fill_null("")),
        workspace.table(domain.items),
    )


def read_identities(workspace: Workspace, table: str) -> pl.DataFrame:
    """The optional mapping of accounts to people: `domain, user_id, person_id` as text, without
    incomplete rows and copies.

    Raises:
        TableProblem: the file is missing or unreadable, or lacks a column.
    """
    path = workspace.table(table)
    frame = scan_table(path)
    _require(frame, schema.IDENTITY_COLUMNS, path, None)
    rows = frame.select(text_id(c) for c in schema.IDENTITY_COLUMNS)
    return collect(rows, path).drop_nulls().unique(maintain_order=True)
