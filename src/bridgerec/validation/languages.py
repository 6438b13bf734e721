"""Does a catalogue that tells its items' languages tell all of them?"""

from collections.abc import Iterator

import polars as pl

from bridgerec.validation.derive import examples
from bridgerec.validation.finding import Finding


def check_languages(name: str, items: pl.DataFrame, n: int) -> Iterator[Finding]:
    """A warning about items without a `language` where others have one; `n` are shown."""
    if "language" not in items.columns:
        return
    silent = ~pl.col("language").fill_null("").str.contains(r"[\p{L}\p{N}]")  # "-" says nothing
    count, shown = examples(items, silent, n)
    if 0 < count < items.height:
        yield Finding(
            name, "items", "missing_languages", "warning",
            "some items have a language and others none",
            "Fill the column `language`, or leave it out: these items count in no language in the "
            "evaluation and the gate, which without the column go by the script of titles",
            count, items.height, shown,
        )  # fmt: skip
