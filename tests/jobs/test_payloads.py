from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from milepost.errors import DefinitionInvalid, PayloadInvalid
from milepost.jobs.payloads import Payload


@dataclass(frozen=True)
class Order:
    shop: str = ""
    count: int = 0
    price: float = 0.0
    tags: list[str] = field(default_factory=list)


class Plain(TypedDict, total=False):
    shop: str
    count: int


class Model(BaseModel):
    model_config = ConfigDict(extra="ignore")
    shop: str = ""
    count: int = 0


ORDER = Payload[Order]("args of import", Order)
PLAIN = Payload[Plain]("args of import", Plain)
MODEL = Payload[Model]("args of import", Model)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (ORDER, Order("acme", 3, 1.5, ["a"])),
        (PLAIN, Plain(shop="acme")),
        (MODEL, Model(shop="acme", count=2)),
        (Payload[dict[str, int]]("args", dict[str, int]), {"a": 1}),
        (Payload[list[str]]("args", list[str]), ["a", "ü", "\x00", "🚀"]),
        (Payload[int | None]("args", int | None), None),
        (Payload[None]("args", None), None),
        (Payload[str]("args", str), "a"),
        (Payload[datetime]("args", datetime), datetime(2024, 5, 17, tzinfo=UTC)),
        (Payload[timedelta]("args", timedelta), timedelta(seconds=1.5)),
    ],
)
def test_a_value_comes_back_as_it_went(payload: Payload[Any], value: object) -> None:
    assert payload.load(payload.dump(value)) == value


def test_json_is_compact_and_keeps_letters() -> None:
    assert ORDER.dump(Order("Käse", 1)) == '{"shop":"Käse","count":1,"price":0.0,"tags":[]}'


@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        (ORDER, {"shop": "acme"}),
        (ORDER, None),
        (ORDER, "acme"),
        (MODEL, Order("acme")),
        (ORDER, Order(shop=3)),  # type: ignore[arg-type]
        (ORDER, Order(count="3")),  # type: ignore[arg-type]
        (ORDER, Order(count=1.5)),  # type: ignore[arg-type]
        (ORDER, Order(tags=[1])),  # type: ignore[list-item]
        (ORDER, Order(tags=object())),  # type: ignore[arg-type]
        (PLAIN, {"shop": 3}),
        (Payload[int]("args", int), "1"),
    ],
)
def test_promise_9_a_wrong_type_is_refused_before_it_is_stored(
    payload: Payload[Any], wrong: object
) -> None:
    with pytest.raises(PayloadInvalid, match=payload.what):
        payload.dump(wrong)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), float("-inf")])
def test_what_json_lacks_is_refused(price: float) -> None:
    with pytest.raises(PayloadInvalid, match="args of import"):
        ORDER.dump(Order(price=price))


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(PayloadInvalid, match="Unicode"):
        ORDER.dump(Order("\ud800"))


@pytest.mark.parametrize(
    "stored",
    ["", "{", "[]", "null", '{"shop": 1}', '{"count": "3"}', '{"count": 1.5}', '{"tags": "a"}'],
)
def test_promise_9_stored_json_is_checked_again_and_strictly(stored: str) -> None:
    with pytest.raises(PayloadInvalid, match="does not fit Order"):
        ORDER.load(stored)


def test_the_error_names_the_field_and_what_is_wrong() -> None:
    with pytest.raises(PayloadInvalid, match=r"tags\.1: Input should be a valid string"):
        ORDER.load('{"tags": ["a", 2]}')


def test_stored_json_may_have_fields_of_another_version() -> None:
    assert ORDER.load('{"shop": "acme", "added_later": 1}') == Order("acme")


def test_typed_json_is_brought_to_normal_form() -> None:
    assert ORDER.parse(' {"count": 2} ') == '{"shop":"","count":2,"price":0.0,"tags":[]}'


@pytest.mark.parametrize("payload", [ORDER, PLAIN])
def test_a_misspelt_field_does_not_vanish(payload: Payload[Any]) -> None:
    with pytest.raises(PayloadInvalid, match="shoop"):
        payload.parse('{"shoop": "acme"}')


def test_a_model_says_itself_what_it_does_with_unknown_fields() -> None:
    assert MODEL.parse('{"shoop": "acme"}') == '{"shop":"","count":0}'

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")

    with pytest.raises(PayloadInvalid, match="shoop"):
        Payload[Strict]("args", Strict).parse('{"shoop": "acme"}')


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (ORDER, Order()),
        (PLAIN, {}),
        (MODEL, Model()),
        (Payload[None]("checkpoint", None), None),
        (Payload[int]("checkpoint", int), 0),
        (Payload[dict[str, Any]]("checkpoint", dict[str, Any]), {}),
    ],
)
def test_a_job_begins_with_its_type_called(payload: Payload[Any], value: object) -> None:
    assert payload.initial() == value


def test_a_checkpoint_without_defaults_cannot_begin() -> None:
    @dataclass
    class Position:
        page: int

    with pytest.raises(DefinitionInvalid, match="every field of Position needs a default"):
        Payload[Position]("checkpoint", Position).check_initial()


def test_a_type_without_json_is_refused_at_once() -> None:
    class Socket:
        pass

    with pytest.raises(DefinitionInvalid, match="args of import cannot be Socket"):
        Payload[Socket]("args of import", Socket)


def test_the_schema_describes_the_type() -> None:
    assert ORDER.json_schema()["properties"].keys() == {"shop", "count", "price", "tags"}
