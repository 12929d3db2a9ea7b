"""What travels with a job is taken as it comes: any program may have written it."""

import json

import pytest
from opentelemetry import trace
from opentelemetry.context import Context

from milepost.brokers.bullmq.entries import LONGEST_TRACE, foundling
from milepost.telemetry.traces import _read

HEADERS = json.dumps({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "a=1"})


def span_of(context: Context) -> trace.SpanContext:
    return trace.get_current_span(context).get_span_context()


def test_a_trace_is_read_as_it_was_spelled() -> None:
    found = span_of(_read(HEADERS))
    assert (f"{found.trace_id:x}", f"{found.span_id:x}") == ("ab" * 16, "cd" * 8)
    assert found.is_remote


@pytest.mark.parametrize(
    "told", [None, "", "no json", "[]", "7", '{"traceparent": 7}', '{"traceparent": "00-zz"}']
)
def test_what_is_none_begins_a_trace_of_its_own(told: str | None) -> None:
    assert not span_of(_read(told)).is_valid


@pytest.mark.parametrize(
    ("options", "trace"),
    [
        ({"tm": HEADERS}, HEADERS),
        ({}, None),
        ({"tm": {"no": "text"}}, None),
        ({"tm": HEADERS, "omc": True}, None),
        ({"tm": "x" * (LONGEST_TRACE + 1)}, None),
    ],
)
def test_the_trace_of_an_entry_is_where_bullmq_keeps_it(
    options: dict[str, object], trace: str | None
) -> None:
    fields = {"name": "adds", "opts": json.dumps(options)}
    assert foundling("q", "1", fields, default_attempts=1).trace == trace
