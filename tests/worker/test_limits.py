"""Limits end an attempt as failed, and say which it was."""

from datetime import timedelta
from typing import Any

import pytest

from milepost import JobDefinition, JobFailed
from tests.worker.apps import OpenApp
from tests.worker.limited import (
    WORDS,
    heard_of_process,
    heard_of_thread,
    idles_process,
    saves_long_process,
    saves_long_thread,
)
from tests.worker.waiting import SOON


@pytest.mark.parametrize("definition", WORDS, ids=lambda each: each.kind)
async def test_past_a_limit_a_job_fails_with_its_name(
    open_app: OpenApp, definition: JobDefinition[Any, Any, Any]
) -> None:
    app = await open_app(definition)
    async with app.worker():
        handle = await app.submit(definition, 0)
        with pytest.raises(JobFailed) as caught:
            await handle.result(SOON)

    assert caught.value.error.startswith(WORDS[definition])
    # On a busy machine the first may have waited too long for a child and gone back.
    *_, attempt = await handle.attempts()
    assert attempt.outcome == "failed"


@pytest.mark.parametrize("definition", [heard_of_thread, heard_of_process])
async def test_who_saves_or_reports_is_not_silent(
    open_app: OpenApp, definition: JobDefinition[Any, Any, int]
) -> None:
    app = await open_app(definition)
    async with app.worker():
        assert await (await app.submit(definition, 0)).result(SOON) > 1


@pytest.mark.parametrize("definition", [saves_long_thread, saves_long_process])
async def test_a_long_save_is_no_silence(
    open_app: OpenApp, definition: JobDefinition[Any, Any, int]
) -> None:
    # SQLite's only writer keeps the renewals waiting meanwhile.
    app = await open_app(definition, lease_for=timedelta(seconds=10))
    async with app.worker():
        assert await (await app.submit(definition, 0)).result(SOON) == 1


async def test_waiting_uses_no_cpu_time(open_app: OpenApp) -> None:
    app = await open_app(idles_process)
    async with app.worker():
        assert await (await app.submit(idles_process, 0)).result(SOON) == "done"
