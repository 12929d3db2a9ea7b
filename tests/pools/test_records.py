"""What a child's program logs costs neither the child nor its job, whatever it is."""

import logging
from collections.abc import Iterator

import pytest

from milepost.jobs.outcomes import Completed
from tests.pools.conftest import Open

CHATTY = logging.getLogger("tests.chatty")


def breaks(record: logging.LogRecord) -> bool:
    raise LookupError("a filter of the program's own")


@pytest.fixture
def broken_filter() -> Iterator[None]:
    CHATTY.addFilter(breaks)
    yield
    CHATTY.removeFilter(breaks)


def test_a_record_is_its_job_s_whatever_it_says_of_itself(
    open_rig: Open, caplog: pytest.LogCaptureFixture
) -> None:
    pool = open_rig(least=1, most=1)
    first = pool.run("logs", CHATTY.name)
    pool.until(lambda: caplog.records)

    [record] = caplog.records
    assert (record.name, record.getMessage()) == (CHATTY.name, "a line")
    assert (vars(record)["job_id"], vars(record)["kind"]) == (1, "logs-process")
    # In the same child.
    assert isinstance(first, Completed)
    assert pool.run("tells-its-process") == first


def test_a_filter_in_the_worker_that_breaks_costs_no_child(
    open_rig: Open, caplog: pytest.LogCaptureFixture, broken_filter: None
) -> None:
    pool = open_rig(least=1, most=1)
    first = pool.run("logs", CHATTY.name)
    pool.until(lambda: caplog.records)

    assert caplog.messages == ["a record of a child process could not be logged"]
    assert isinstance(first, Completed)
    assert pool.run("tells-its-process") == first
