"""A worker that may not start leaves nothing behind."""

import threading
from pathlib import Path

import pytest

from milepost import SyncJobContext, job
from milepost.errors import ConfigurationError
from milepost.store import workers
from tests.worker.apps import App, OpenApp


def threads_and_descriptors() -> tuple[int, int]:
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


async def test_a_worker_that_may_not_start_leaves_nothing_open_and_no_record_of_itself(
    open_app: OpenApp,
) -> None:
    @job("inside", pool="process")
    def inside(ctx: SyncJobContext[None], args: int) -> None: ...

    app = await open_app(inside)
    # SQLite keeps a closed file's descriptor for the next one, as long as the file has locks.
    await refuse(app)
    before = threads_and_descriptors()
    await refuse(app)

    assert threads_and_descriptors() == before
    assert await app.database.query(workers.unstopped) == []


async def refuse(app: App) -> None:
    with pytest.raises(ConfigurationError, match="define it at the top level of a module"):
        await app.worker().start()
