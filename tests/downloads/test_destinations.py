"""A destination's secrets are filled in part by part."""

import pytest
from sqlalchemy.engine import URL

from milepost.connectors import FileSource, Secrets
from milepost.database_urls import parse_url
from milepost.downloads import DownloadRecords, download_records
from milepost.downloads.destinations import destination
from milepost.errors import FatalConnectorError, PayloadInvalid


def test_a_password_may_hold_any_character() -> None:
    url = destination("postgresql://ann:$PW@db:5433/shop", Secrets({"PW": "p@s/s:w%rd?#"}))

    assert url == parse_url("postgresql://ann@db:5433/shop").set(password="p@s/s:w%rd?#")


def test_a_path_and_a_whole_url_are_filled_in_as_they_are() -> None:
    secrets = Secrets({"FOLDER": "/data", "URL": "postgresql://db/shop"})

    assert destination("$FOLDER/shop.db", secrets) == "/data/shop.db"
    assert destination("$URL", secrets) == "postgresql://db/shop"


def test_a_password_may_stand_in_the_query() -> None:
    url = destination("postgresql://db/shop?user=ann&password=$PW", Secrets({"PW": "p@s&?#"}))

    assert isinstance(url, URL)
    assert dict(url.query) == {"user": "ann", "password": "p@s&?#"}


def test_a_missing_value_is_named() -> None:
    with pytest.raises(FatalConnectorError, match=r"\$PW has no value"):
        destination("postgresql://ann:$PW@db/shop", Secrets({}))


@pytest.mark.parametrize(
    "into",
    [
        "postgresql://ann:hunter2@db/shop",
        "postgresql://ann@corp:hunter2@db/shop",
        "postgresql://ann:hunt/er2?@db/shop",
        "postgresql://:hunter2@db/shop",
        "$SCHEME://ann:hunter2@db/shop",
        "postgresql://ann@db/shop?sslmode=require&password=hunter2",
        "postgresql:///shop?sslpassword=hunter2",
    ],
)
def test_a_plain_password_is_refused_because_it_would_be_stored(into: str) -> None:
    source = FileSource(path="orders.csv")
    with pytest.raises(ValueError, match=r"into h.* a password .*user:\$NAME@host") as caught:
        DownloadRecords(source=source, into=into)
    assert "hunt" not in str(caught.value)

    good = download_records.args.dump(DownloadRecords(source=source, into="INTO"))
    with pytest.raises(PayloadInvalid, match="a password") as refused:
        download_records.args.parse(good.replace("INTO", into))
    assert "hunt" not in str(refused.value)


@pytest.mark.parametrize(
    "into",
    [
        "shop.db",
        "a:b@c.db",
        "$INTO",
        "postgresql://ann:$PW@db:5433/shop",
        "postgresql://ann:${PW}@db/shop",
        "postgresql://ann@db:5433/shop?sslmode=require",
        "postgresql:///shop?host=/tmp",
        "sqlite:////data/shop.db",
    ],
)
def test_a_destination_without_a_plain_password_is_taken(into: str) -> None:
    assert DownloadRecords(source=FileSource(path="orders.csv"), into=into).into == into
