"""Where records come from: sources, described as data, and the connectors that read them."""

from milepost.connectors.connector import Connector, Cursor, Page, Record, Table
from milepost.connectors.opening import open_connector
from milepost.connectors.secrets import Secrets
from milepost.connectors.sources import FileSource, HttpSource, Source, check_source, source_from

__all__ = [
    "Connector",
    "Cursor",
    "FileSource",
    "HttpSource",
    "Page",
    "Record",
    "Secrets",
    "Source",
    "Table",
    "check_source",
    "open_connector",
    "source_from",
]
