"""Jobs from afar: submits and steers them over HTTP, typed as on the store itself."""

from milepost.client.api import ApiAway, ApiError
from milepost.client.client import Client
from milepost.client.jobs import RemoteJob
from milepost.client.views import (
    RemoteCancellation,
    RemoteConnection,
    RemoteProgress,
    RemoteView,
)

__all__ = [
    "ApiAway",
    "ApiError",
    "Client",
    "RemoteCancellation",
    "RemoteConnection",
    "RemoteJob",
    "RemoteProgress",
    "RemoteView",
]
