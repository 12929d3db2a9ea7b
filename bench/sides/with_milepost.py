"""Milepost's side: the job `download-records`, its worker and its store in this process."""

import asyncio
import sys
import tempfile
import time

import svcs

from milepost import Milepost, Settings, WorkerSettings
from milepost.connectors import Secrets, source_from
from milepost.downloads import DownloadRecords, download_records
from milepost.store import checkpoints
from milepost.worker.process import dedicate

spent = {"checkpoints": 0.0}


def timed(name: str) -> None:
    """Count the time spent in the statement that saves a checkpoint."""
    original = getattr(checkpoints, name)

    def counting(*args: object) -> object:
        began = time.perf_counter()
        try:
            return original(*args)
        finally:
            spent["checkpoints"] += time.perf_counter() - began

    setattr(checkpoints, name, counting)


async def main(url: str, into: str) -> None:
    services = svcs.Registry()
    services.register_value(Secrets, Secrets({"INTO": into}))
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            database_url=f"sqlite:///{folder}/store.db", worker=WorkerSettings(concurrency=1)
        )
        milepost = Milepost(settings=settings, services=services, observers=())
        async with milepost, milepost.worker():
            args = DownloadRecords(source=source_from(url), into="$INTO")
            began, cpu_began = time.perf_counter(), time.process_time()
            result = await (await milepost.submit(download_records, args)).result()
            took, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    print(result.records, took, cpu, 100 * spent["checkpoints"] / took)


if __name__ == "__main__":
    dedicate()
    timed("save")
    timed("save_beside")
    asyncio.run(main(*sys.argv[1:]))
