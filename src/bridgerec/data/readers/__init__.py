"""Raw tables of any supported format, with the standard column names."""

from bridgerec.data.readers.scan import TableProblem, collect, scan_table, separable
from bridgerec.data.readers.tables import (
    raw_interactions,
    raw_items,
    read_identities,
    read_interactions,
    read_items,
    typed_interactions,
    typed_items,
)

__all__ = [
    "TableProblem",
    "collect",
    "raw_interactions",
    "raw_items",
    "read_identities",
    "read_interactions",
    "read_items",
    "scan_table",
    "separable",
    "typed_interactions",
    "typed_items",
]
