"""Opening CSV, JSONL and Parquet tables; what goes wrong becomes one plain sentence."""

from pathlib import Path

import polars as pl

from bridgerec.errors import DataError

FORMATS = (".csv", ".jsonl", ".ndjson", ".parquet")


class TableProblem(DataError):
    """A table as a whole cannot be used; `check` names the kind of problem."""

    def __init__(self, path: Path, check: str, problem: str, remedy: str) -> None:
        super().__init__(f"{path} {problem}. {remedy}.")
        self.path, self.check, self.problem, self.remedy = path, check, problem, remedy


def scan_table(path: Path) -> pl.LazyFrame:
    """Open a table lazily; the format follows the file's ending (`.gz` is allowed for text).

    All columns of CSV and JSONL are texts, so that `00123` stays `00123` and no row, however
    late, can contradict a type that was guessed from the first ones.

    Raises:
        TableProblem: the file is missing, empty, unreadable, or of an unknown format.
    """
    if not path.is_file():
        raise TableProblem(
            path, "missing_file", "does not exist", "Correct its path in params.yaml (data)"
        )
    suffix = next((s for s in reversed(path.suffixes) if s != ".gz"), "")
    try:
        if suffix == ".parquet":
            frame = pl.scan_parquet(path)
        elif suffix == ".csv":
            frame = pl.scan_csv(path, infer_schema=False)
        elif suffix in (".jsonl", ".ndjson"):
            # all lines, since a column may first appear in the last one
            names = pl.scan_ndjson(path, infer_schema_length=None).collect_schema().names()
            frame = pl.scan_ndjson(path, schema=dict.fromkeys(names, pl.String))
        else:
            raise TableProblem(
                path, "unknown_format", f"has the unknown format {suffix!r}",
                f"Use one of {', '.join(FORMATS)}",
            )  # fmt: skip
        columns = frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _problem(path, error) from error
    if any("\ufffd" in column for column in columns):
        raise _undecodable(path)
    return frame


def collect(frame: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Read what was opened.

    Raises:
        TableProblem: the file breaks its format somewhere, or is not UTF-8.
    """
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _problem(path, error) from error


def separable(frame: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    """What was opened at `path`, so that collecting one column costs no reading of the others:
    Parquet keeps them apart, any other table is read here.

    Raises:
        TableProblem: as `collect`.
    """
    return frame if ".parquet" in path.suffixes else collect(frame, path).lazy()


def _problem(path: Path, error: Exception) -> TableProblem:
    line = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
    if "utf-8" in line.lower() and ".parquet" not in path.suffixes:
        return _undecodable(path)
    return TableProblem(
        path, "unreadable", f"cannot be read ({line})",
        "Look whether its ending fits its content and every row has the columns of the first",
    )  # fmt: skip


def _undecodable(path: Path) -> TableProblem:
    return TableProblem(
        path, "undecodable", "is not UTF-8 text",
        "Save it as UTF-8, for example with `iconv -f WINDOWS-1252 -t UTF-8`",
    )  # fmt: skip
