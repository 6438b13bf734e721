"""Raw tables of any supported format, with the standard column names."""

from bridgerec.data.readers.tables import (
    read_identities,
    read_interactions,
    read_items,
    scan_table,
)

__all__ = ["read_identities", "read_interactions", "read_items", "scan_table"]
