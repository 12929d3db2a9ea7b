"""A destination's secrets are filled in part by part."""

import pytest
from sqlalchemy.engine import URL

from milepost.connectors import Secrets
from milepost.downloads.destinations import destination
from milepost.errors import FatalConnectorError
from milepost.store.database import parse_url


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
