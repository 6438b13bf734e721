"""Parquet files that earlier stages wrote."""

from pathlib import Path

import polars as pl

from bridgerec.errors import ArtifactError

AGAIN = (
    "Run `dvc repro` or `bridgerec run`: DVC sees that the file is not what its stage wrote, and "
    "makes it again"
)


def read_stored(path: Path, *columns: str | pl.Expr, remedy: str = AGAIN) -> pl.DataFrame:
    """A stage's table, or these columns of it.

    Raises:
        ArtifactError: it is missing, damaged (cut off, for example), or lacks a column.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist. Run `dvc repro` or `bridgerec run`.")
    try:
        if columns:
            return pl.scan_parquet(path).select(*columns).collect()
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
        raise ArtifactError(f"{path} is damaged ({line}). {remedy}.") from error
