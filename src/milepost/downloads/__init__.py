"""The job that comes with Milepost: connectors → snapshots."""

from milepost.downloads.args import DownloadRecords
from milepost.downloads.budgets import open_budgets
from milepost.downloads.children import Child
from milepost.downloads.definition import download_records
from milepost.downloads.destinations import destination
from milepost.downloads.named import NamedSnapshot, Snapshot, Snapshots, TableWish
from milepost.downloads.sources import Found, Sources
from milepost.downloads.state import Downloaded, Position, TableDownloaded, TableState

__all__ = [
    "Child",
    "DownloadRecords",
    "Downloaded",
    "Found",
    "NamedSnapshot",
    "Position",
    "Snapshot",
    "Snapshots",
    "Sources",
    "TableDownloaded",
    "TableState",
    "TableWish",
    "destination",
    "download_records",
    "open_budgets",
]
