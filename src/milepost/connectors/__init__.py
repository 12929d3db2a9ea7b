"""Where records come from: sources, described as data, and the connectors that read them."""

from milepost.connectors.connector import Connector, Cursor, Page, Record, Report, Table
from milepost.connectors.files.source import FileSource
from milepost.connectors.http.source import HttpSource
from milepost.connectors.kinds import (
    Access,
    AnySource,
    Kind,
    Source,
    check_source,
    dump_source,
    kind_names,
    kind_of,
    open_connector,
    schema_of,
    source_from,
)
from milepost.connectors.secrets import Secrets
from milepost.connectors.sql.source import SqlSource

__all__ = [
    "Access",
    "AnySource",
    "Connector",
    "Cursor",
    "FileSource",
    "HttpSource",
    "Kind",
    "Page",
    "Record",
    "Report",
    "Secrets",
    "Source",
    "SqlSource",
    "Table",
    "check_source",
    "dump_source",
    "kind_names",
    "kind_of",
    "open_connector",
    "schema_of",
    "source_from",
]
