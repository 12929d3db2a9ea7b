"""What only the thread pool does: the system may have no thread left for it."""

import logging
import threading
from pathlib import Path

import pytest

from milepost.jobs.outcomes import Completed, Interrupted
from tests.pools.rig import SOON, rig
from tests.stores import Stores


def test_a_thread_that_cannot_start_costs_only_its_own_job_and_asks_for_a_pause(
    stores: Stores,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = threading.Thread.start
    refused: list[threading.Thread] = []

    def refuse_the_first(thread: threading.Thread) -> None:
        if thread.name == "milepost-handler" and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    with rig("thread", stores.sqlite(tmp_path / "store.db")) as pool:
        first, *others = pool.attempts("answers", 1, count=3)
        monkeypatch.setattr(threading.Thread, "start", refuse_the_first)
        pool.pool.run([first, *others])
        assert pool.pool.room() == 0

        ended = dict(pool.done.get(timeout=SOON) for _ in range(3))
        assert ended == {first: Interrupted()} | dict.fromkeys(others, Completed("2"))
        pool.until(lambda: pool.pool.room() > 0)
        assert pool.run("answers", 1) == Completed("2")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "no thread for a handler: can't start new thread; its job goes back")
    ]
