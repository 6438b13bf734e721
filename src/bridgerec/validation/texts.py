"""Do the text columns that a catalogue has say anything?"""

from collections.abc import Iterator

import polars as pl

from bridgerec.data import schema
from bridgerec.validation.finding import Finding


def check_texts(name: str, raw: pl.DataFrame, n: int) -> Iterator[Finding]:
    """Warnings about descriptions, categories and brands that are blank in all items, or the same
    in all that have one, if those are most; `raw` is the table as it is, and `n` rows are shown.

    A column that is absent, or null, says that there are no such texts, which is no fault.
    """
    empty, constant = [], []
    for column in (c for c in schema.TEXT_COLUMNS if c != "title" and c in raw.columns):
        given = raw[column].cast(pl.String).drop_nulls()
        texts = given.filter(given.str.strip_chars() != "")
        if texts.is_empty():
            empty += [column] if len(given) else []
        elif len(texts) > max(1, raw.height / 2) and texts.n_unique() == 1:
            constant.append(column)
    found = (
        ("empty_text", "are empty", empty),
        ("constant_columns", "hold the same text in all items", constant),
    )
    for check, what, columns in found:
        if columns:
            kept = [c for c in ("item_id", "title", *columns) if c in raw.columns]
            some = pl.any_horizontal(pl.col(columns).is_not_null())
            rows = raw.select(kept).with_row_index("row", offset=1).filter(some)
            yield Finding(
                name, "items", check, "warning",
                f"columns that {what}: {', '.join(columns)}",
                "Look at the export and the mapping; if there are no such texts, leave the columns "
                "out (models learn nothing from them)",
                rows.height, raw.height, rows.head(n).to_dicts(),
            )  # fmt: skip
