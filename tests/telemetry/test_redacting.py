"""What nobody may read in a log is not there, however it came to be written."""

import logging

import pytest

from milepost.connectors.secrets import Secrets
from milepost.jobs.scope import Scope, within
from milepost.telemetry.opening import log_formatter
from milepost.telemetry.plain import PlainFormatter
from milepost.telemetry.redacting import Redactor

ENVIRONMENT = {
    "SHOP_TOKEN": "sesame open",
    "PASSWORD": "short",
    "MILEPOST_SECRET_KEY": "first-key-of-many,second-key",
    "LANG": "en_US.UTF-8",
}
KEPT = Secrets({"GIVEN": "kept by a connection"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("with sesame open", "with $SHOP_TOKEN"),
        ("?t=sesame%20open&x", "?t=$SHOP_TOKEN&x"),
        ("first-key-of-many", "$MILEPOST_SECRET_KEY_0"),
        ("second-key", "$MILEPOST_SECRET_KEY_1"),
        ("a short word in en_US.UTF-8 for $5", "a short word in en_US.UTF-8 for $5"),
        ("postgresql://ann:p4ss:w@db/jobs", "postgresql://ann:***@db/jobs"),
        ("redis://:p4ss@host", "redis://:***@host"),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer ***"),
        ("milepost_" + "A" * 43, "***"),
        ("kept by a connection", "$GIVEN"),
    ],
)
def test_a_text_has_no_secrets(text: str, shown: str) -> None:
    KEPT.reveal("$GIVEN")
    assert Redactor(ENVIRONMENT).text(text) == shown


def test_fields_have_none_either() -> None:
    fields = {
        "api_key": "x", "shop": "acme", "count": 3, "none": None,
        "headers": {"Authorization": "Basic x", "Accept": "sesame open"},
        "tried": ["sesame open", {"password": "x"}], "error": ValueError("sesame open"),
    }  # fmt: skip
    assert Redactor(ENVIRONMENT).fields(fields) == {
        "api_key": "***", "shop": "acme", "count": 3, "none": None,
        "headers": {"Authorization": "***", "Accept": "$SHOP_TOKEN"},
        "tried": ["$SHOP_TOKEN", {"password": "***"}], "error": "$SHOP_TOKEN",
    }  # fmt: skip


def line(record: logging.LogRecord) -> str:
    return log_formatter("text", ENVIRONMENT).format(record).partition(" WARNING ")[2]


def test_a_plain_line_ends_with_its_job_and_a_traceback_has_no_secret() -> None:
    record = logging.LogRecord("shop", logging.WARNING, "a.py", 1, "%s", ("hello",), None)
    assert line(record) == "shop: hello"
    record.exc_info = (ValueError, ValueError("sesame open"), None)
    with within(Scope(7, 2, "counts", "default", "w-1")):
        first, *rest = line(record).splitlines()
    assert first == "shop: hello [job_id=7 attempt=2 kind=counts queue=default worker=w-1]"
    assert rest[-1] == "ValueError: $SHOP_TOKEN"


def test_a_record_of_somebody_s_own_does_not_say_whose_it_is() -> None:
    record = logging.LogRecord("shop", logging.WARNING, "a.py", 1, "hello", (), None)
    record.job_id = 99
    assert line(record) == "shop: hello"
    assert isinstance(log_formatter("text", {}), PlainFormatter)
