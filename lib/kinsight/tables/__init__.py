"""The tables: their definitions and the catalogue that creates, writes and reads them."""

from kinsight.tables.catalogue import FrozenTables, Tables, Written
from kinsight.tables.definitions import (
    KeyValue,
    as_defined,
    key_predicate,
    missing_columns,
    numeric_columns,
    quote,
    table_ddl,
    table_names,
    table_schema,
)
from kinsight.tables.delta_log import newest_snapshot

__all__ = [
    "FrozenTables",
    "KeyValue",
    "Tables",
    "Written",
    "as_defined",
    "key_predicate",
    "missing_columns",
    "newest_snapshot",
    "numeric_columns",
    "quote",
    "table_ddl",
    "table_names",
    "table_schema",
]
