"""The job that comes with Milepost: connectors → snapshots."""

from milepost.downloads.definition import (
    Downloaded,
    DownloadRecords,
    Position,
    TableDownloaded,
    TableState,
    download_records,
)

__all__ = [
    "DownloadRecords",
    "Downloaded",
    "Position",
    "TableDownloaded",
    "TableState",
    "download_records",
]
