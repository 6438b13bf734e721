"""Rows for tables that exist already, in each table's own format, column names and types."""

from bridgerec.data.writers.addition import Addition, write_with

__all__ = ["Addition", "write_with"]
