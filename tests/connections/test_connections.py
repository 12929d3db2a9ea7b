"""What stands in the store, who can read it, and what a wrong key or a damaged row costs."""

import json

import pytest
from sqlalchemy import select, update

from milepost.connections import Connections, Keyring
from milepost.connections.connections import Rotated
from milepost.connectors import HttpSource, dump_source
from milepost.connectors.connection.source import ConnectionSource
from milepost.errors import ConfigurationError, FatalConnectorError, SecretKeyUnfit
from milepost.settings import SecretKeySettings
from milepost.store import tokens
from milepost.store.database import Database
from milepost.store.tables import connections
from tests.connections.conftest import SHOP, WithKeys


async def test_a_connection_is_read_as_it_was_stored(
    database: Database, with_keys: WithKeys, keys: list[str]
) -> None:
    await with_keys(keys[0]).add("shop", SHOP, {"TOKEN": "hunter2"})

    found = await with_keys(keys[0]).find("shop")
    assert (found.source, found.credentials) == (SHOP, {"TOKEN": "hunter2"})
    assert "hunter2" not in repr(found)
    with database.read() as conn:
        row = conn.execute(select(connections)).one()
    assert json.loads(row.source) == dump_source(SHOP)
    assert "hunter2" not in str(row)


async def test_a_name_is_taken_until_it_is_replaced_or_removed(
    with_keys: WithKeys, keys: list[str]
) -> None:
    shop = with_keys(keys[0])
    await shop.add("shop", SHOP, {"TOKEN": "one"})
    with pytest.raises(ConfigurationError, match="there is a connection 'shop' already: --replace"):
        await shop.add("shop", SHOP, {"TOKEN": "two"})
    assert (await shop.find("shop")).credentials == {"TOKEN": "one"}
    await shop.add("shop", SHOP, {}, replace=True)
    assert (await shop.find("shop")).credentials == {}
    await shop.add("new", SHOP, {}, replace=True)
    await shop.remove("shop")
    for lost in (shop.find("shop"), shop.remove("shop"), shop.set_credential("shop", "TOKEN", "x")):
        with pytest.raises(FatalConnectorError, match="no connection 'shop'; there are: new$"):
            await lost


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 101, "ä"])
async def test_a_bad_name_is_refused(name: str, with_keys: WithKeys, keys: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a connection"):
        await with_keys(keys[0]).add(name, SHOP, {})
    with pytest.raises(ConfigurationError, match="not to another connection"):
        await with_keys(keys[0]).add("x", ConnectionSource(name="y"), {})


async def test_what_holds_no_secret_needs_no_key(database: Database) -> None:
    without = Connections(database, Keyring(SecretKeySettings(), database))
    await without.add("shop", SHOP, {})
    assert (await without.find("shop")).credentials == {}
    assert (await without.check()).problems == []
    with pytest.raises(SecretKeyUnfit, match="there is no key for stored credentials"):
        await without.add("other", SHOP, {"TOKEN": "x"})


async def test_a_credential_changes_and_the_others_stay(
    with_keys: WithKeys, keys: list[str]
) -> None:
    shop = with_keys(keys[0])
    both = HttpSource(url="https://shop.example", headers={"A": "$TOKEN", "B": "$OTHER"})
    with pytest.raises(ConfigurationError, match=r"no \$THIRD; it has: \$OTHER, \$TOKEN$"):
        await shop.add("shop", both, {"THIRD": "x"})
    await shop.add("shop", both, {"TOKEN": "old", "OTHER": "kept"})
    await shop.set_credential("shop", "TOKEN", "new")
    assert (await shop.find("shop")).credentials == {"TOKEN": "new", "OTHER": "kept"}
    with pytest.raises(ConfigurationError, match=r"has no \$TOKNE; it has: \$OTHER, \$TOKEN$"):
        await shop.set_credential("shop", "TOKNE", "new")


async def test_rotating_leaves_nothing_of_the_old_key(
    database: Database, with_keys: WithKeys, keys: list[str]
) -> None:
    old, both, new = with_keys(keys[0]), with_keys(keys[1], keys[0]), with_keys(keys[1])
    await old.add("shop", SHOP, {"TOKEN": "hunter2"})
    await old.add("plain", SHOP, {})
    stored = Keyring(SecretKeySettings(keys=keys[0]), database).cipher().encrypt("a token")
    with database.begin() as conn:
        tokens.keep(conn, database.clock, "k", seen=None, token=stored)

    assert (await both.check()).of_older_keys == 2
    assert await both.rotate() == Rotated(connections=1, tokens=1, routes=0)
    assert (await both.check()).of_older_keys == 0
    assert (await new.find("shop")).credentials == {"TOKEN": "hunter2"}
    assert (await new.check()).problems == []
    with pytest.raises(SecretKeyUnfit):
        await old.find("shop")


async def test_a_wrong_key_loses_nothing(with_keys: WithKeys, keys: list[str]) -> None:
    right, wrong = with_keys(keys[0]), with_keys(keys[1])
    await right.add("a", SHOP, {"TOKEN": "one"})
    await wrong.add("b", SHOP, {"TOKEN": "two"})

    said = "what is secret of the connection 'a' cannot be decrypted with the key of MILEPOST_SEC"
    for tried in (wrong.find("a"), wrong.set_credential("a", "TOKEN", "x"), wrong.rotate()):
        with pytest.raises(SecretKeyUnfit, match=said):
            await tried
    [problem] = (await wrong.check()).problems
    assert problem.startswith(said)
    assert (await right.find("a")).credentials == {"TOKEN": "one"}
    assert (await wrong.find("b")).credentials == {"TOKEN": "two"}
    assert [each.name for each in await wrong.listed()] == ["a", "b"]
    await wrong.rotate(forget=True)
    assert (await wrong.find("a")).credentials == {}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"credentials": "gAAAAAB"}, "'shop' cannot be decrypted: the row is damaged, whatever"),
        ({"source": "{"}, "'shop' cannot be read: its source is no JSON, so the row is damaged"),
        ({"source": '{"kind": "gone"}'}, "'shop' cannot be read: no source is of kind 'gone'"),
        ({"source": '{"kind": "http"}'}, "'shop' cannot be read: the source is not described wel"),
    ],
)
async def test_a_damaged_row_is_named_and_can_be_replaced(
    database: Database, with_keys: WithKeys, keys: list[str], damage: dict[str, str], said: str
) -> None:
    shop = with_keys(keys[0])
    await shop.add("shop", SHOP, {"TOKEN": "one"})
    with database.begin() as conn:
        conn.execute(update(connections).values(**damage))
    with pytest.raises((SecretKeyUnfit, FatalConnectorError), match=said) as caught:
        await shop.find("shop")
    assert "--replace" in str(caught.value)
    await shop.add("shop", SHOP, {"TOKEN": "two"}, replace=True)
    assert (await shop.find("shop")).credentials == {"TOKEN": "two"}
