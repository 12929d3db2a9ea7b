"""A source that does not answer: who waits, and what it costs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from milepost import JobState
from tests.downloads.conftest import Downloads


async def test_a_source_where_nobody_listens_costs_a_failure(
    downloads: Downloads, unused_tcp_port: int
) -> None:
    downloads.source = replace(downloads.source, url=f"http://127.0.0.1:{unused_tcp_port}/items")
    run = await downloads.run()

    assert (run.state, run.view.failures) == (JobState.SCHEDULED, 1)
    assert run.view.error is not None
    assert f"127.0.0.1:{unused_tcp_port}" in run.view.error


async def test_a_source_that_names_a_time_costs_nothing(downloads: Downloads) -> None:
    downloads.shop.away_for = 7200
    run = await downloads.run()

    assert (run.state, run.view.failures) == (JobState.SCHEDULED, 0)
    wait = run.view.run_at - datetime.now(UTC)
    assert timedelta(minutes=115) < wait <= timedelta(hours=2)


async def test_a_source_is_asked_again_after_a_day_whatever_it_says(downloads: Downloads) -> None:
    downloads.shop.away_for = 999_999_999
    run = await downloads.run()

    assert (run.state, run.view.failures) == (JobState.SCHEDULED, 0)
    assert run.view.run_at <= datetime.now(UTC) + timedelta(days=1)
