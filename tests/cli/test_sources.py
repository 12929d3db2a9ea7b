"""What becomes of what was typed: what is stored, what is sent, what is shown."""

import pytest

from milepost.cli import sources
from milepost.cli.sources import Kept
from milepost.connectors import Secrets, source_from


def sent(kept: Kept, template: str) -> str:
    return Secrets(sources.merged(kept, {"NAME": "from the environment"})).reveal(template)


@pytest.mark.parametrize(
    "pair", ["v=1", "status=open", "page_token=abcd", "sort_key=name", "token=$NAME", "price=5$"]
)
def test_a_harmless_value_is_stored_and_shown_as_it_is(pair: str) -> None:
    kept = Kept()
    name, _, value = pair.partition("=")
    assert sources.params_of([pair], kept) == {name: value}
    assert sources.headers_of([f"{name}: {value}"], kept) == {name: value}
    assert kept.values == {}
    assert [kept.shown(each) for each in (pair, f"--param={pair}")] == [pair, f"--param={pair}"]


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "Proxy-Authorization", "Cookie", "X-API-Key", "apikey", "key", "sig",
        "X-Amz-Signature", "X-Shopify-Access-Token", "PRIVATE-TOKEN", "X-Auth", "client_secret",
        "Ocp-Apim-Subscription-Key", "password", "sslpassword",
    ],
)  # fmt: skip
def test_a_value_whose_name_says_that_it_is_secret_is_kept(name: str) -> None:
    kept = Kept()
    for template in (
        sources.params_of([f"{name}=hunter2"], kept)[name],
        sources.headers_of([f"{name}:  hunter2"], kept)[name],
    ):
        assert template.startswith("$MILEPOST_")
        assert sent(kept, template) == "hunter2"
    assert kept.shown(f"{name}=hunter2") == f"{name}=…"
    assert kept.shown(f"--header={name}:  hunter2") == f"--header={name}: …"


def test_a_scheme_stays_readable_and_its_token_is_kept_under_any_name() -> None:
    kept = Kept()
    [(name, value)] = sources.headers_of(["X-Forwarded: Bearer hunter2"], kept).items()
    assert (name, value) == ("X-Forwarded", "Bearer $MILEPOST_HEADER_X_FORWARDED")
    assert kept.shown("X-Forwarded: Bearer hunter2") == "X-Forwarded: Bearer …"


def test_two_values_never_share_a_variable() -> None:
    kept = Kept()
    params = sources.params_of(["a-token=xxxx", "a_token=yyyy", "a.token=xxxx"], kept)
    assert [sent(kept, template) for template in params.values()] == ["xxxx", "yyyy", "xxxx"]


@pytest.mark.parametrize("typed", ["p$$w", "$$", "$$NAME"])
def test_a_doubled_dollar_is_one(typed: str) -> None:
    kept = Kept()
    params = sources.params_of([f"token={typed}", f"x={typed}"], kept)
    basic = sources.basic_auth_of(f"ann:{typed}", kept) or ""
    wanted = typed.replace("$$", "$")
    assert [sent(kept, template) for template in params.values()] == [wanted, wanted]
    assert sent(kept, basic) == f"ann:{wanted}"


def test_a_dollar_that_is_encoded_in_a_url_is_no_reference() -> None:
    kept = Kept()
    typed = "http://a%24nn:a%24b%25c@h/x?api_key=q%24z+%26&status=%24open"
    address, login = sources.address_of(typed, kept)
    assert address == "http://h/x?api_key=$MILEPOST_SOURCE_API_KEY&status=%24open"
    assert login == "a$$nn:$MILEPOST_BASIC_AUTH_PASSWORD"
    assert sent(kept, login) == "a$nn:a$b%c"
    secrets = Secrets(kept.values)
    assert secrets.reveal_url(address) == "http://h/x?api_key=q%24z%20%26&status=%24open"
    assert kept.shown(typed) == "http://a%24nn:…@h/x?api_key=…&status=%24open"


def test_references_in_a_url_stay() -> None:
    kept = Kept()
    typed = "http://ann:$PW@h/x?token=${TOKEN}"
    assert sources.address_of(typed, kept) == ("http://h/x?token=${TOKEN}", "ann:$PW")
    assert kept.values == {}
    assert kept.shown(typed) == typed


def test_an_at_sign_belongs_to_the_password() -> None:
    kept = Kept()
    address, login = sources.address_of("http://ann:p@ss@h/x", kept)
    assert (address, sent(kept, login or "")) == ("http://h/x", "ann:p@ss")


@pytest.mark.parametrize("typed", ["http://sk_live@h/x", "http://sk_live:@h/x"])
def test_a_user_without_password_is_a_key(typed: str) -> None:
    kept = Kept()
    _, login = sources.address_of(typed, kept)
    assert login == sources.basic_auth_of("sk_live:", kept) == "$MILEPOST_BASIC_AUTH_USER:"
    assert sent(kept, login) == "sk_live:"
    assert kept.shown(typed) == "http://…:@h/x"
    assert kept.shown("sk_live:") == "…:"
    source_from("http://h/x", basic_auth=login)


def test_the_query_of_a_table_has_secrets_too() -> None:
    kept = Kept()
    tables = sources.tables_of(["orders?token=hunter2&x=1", "a=b?sig=hunter3"], kept)
    assert tables == ["orders?token=$MILEPOST_TABLE_TOKEN&x=1", "a=b?sig=$MILEPOST_TABLE_SIG"]
    assert kept.shown("orders?token=hunter2&x=1") == "orders?token=…&x=1"


@pytest.mark.parametrize(
    ("typed", "template", "shown"),
    [
        ("a.db", "a.db", "a.db"),
        (
            "postgresql://ann:p%24w@h/d",
            "postgresql://ann:$MILEPOST_INTO_PASSWORD@h/d",
            "postgresql://ann:…@h/d",
        ),
        (
            "postgresql://ann:p/w@h/d?application_name=a@b",
            "postgresql://ann:$MILEPOST_INTO_PASSWORD@h/d?application_name=a@b",
            "postgresql://ann:…@h/d?application_name=a@b",
        ),
        (
            "postgresql://ann:w?p@h/d",
            "postgresql://ann:$MILEPOST_INTO_PASSWORD@h/d",
            "postgresql://ann:…@h/d",
        ),
        (
            "postgresql://h/d?user=ann&password=p%24w",
            "postgresql://h/d?user=ann&password=$MILEPOST_INTO_PASSWORD",
            "postgresql://h/d?user=ann&password=…",
        ),
        ("postgresql://ann:$PW@h/d", "postgresql://ann:$PW@h/d", "postgresql://ann:$PW@h/d"),
    ],
)
def test_a_destination_is_stored_without_its_password(
    typed: str, template: str, shown: str
) -> None:
    kept = Kept()
    assert sources.database_of(typed, kept, what="into") == template
    assert kept.shown(f"--into={typed}") == f"--into={shown}"
    assert set(kept.values.values()) <= {"p$w", "p/w", "w?p"}


def test_only_the_argument_that_held_a_secret_is_changed() -> None:
    kept = Kept()
    sources.params_of(["key=e"], kept)
    command = ["download", "http://here/e", "--param", "key=e", "--table", "e"]
    assert [kept.shown(each) for each in command] == [
        "download", "http://here/e", "--param", "key=…", "--table", "e",
    ]  # fmt: skip


def test_a_kind_before_a_url_hides_none_of_its_secrets() -> None:
    kept = Kept()
    typed = "file:http://ann:hunter2@h/x.csv?token=hunter3"
    kind, named = sources.kind_before(typed)
    assert (kind, named) == ("file:", typed[5:])
    sources.address_of(named, kept)
    kept.note_within(typed, named)
    assert kept.shown(typed) == "file:http://ann:…@h/x.csv?token=…"
    assert sources.kind_before("http://h/x") == ("", "http://h/x")
    assert sources.kind_before("file:x.csv") == ("", "file:x.csv")
