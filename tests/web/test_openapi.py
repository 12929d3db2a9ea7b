"""The OpenAPI document, held to by schemathesis: no 5xx, and no reply that it does not name."""

import asyncio
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from milepost import Milepost, Settings
from milepost.store import schema as store_schema
from milepost.web import create_app
from milepost.web.api import examples
from tests.web.conftest import steps

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_schema_conformance,
]  # fmt: skip


def application(url: str = "sqlite://") -> Any:
    return create_app(Milepost([steps], settings=Settings(database_url=url), observers=()))


# Streams of events go on until the listener leaves.
ROUTES = [
    (path, method)
    for path, methods in application("sqlite:///nowhere.db").openapi()["paths"].items()
    for method in methods
    if not path.endswith("/events")
]


def test_every_example_is_there_and_fits_its_schema() -> None:
    document = application("sqlite:///nowhere.db").openapi()
    tried = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            told = {"body": operation.get("requestBody", {}), **operation["responses"]}
            for what, each in told.items():
                for kind, content in each.get("content", {}).items():
                    if kind == "text/event-stream":
                        continue
                    schema = {**content["schema"], "components": document["components"]}
                    assert "example" in content, (method, path, what)
                    checker = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
                    wrong = [error.message for error in checker.iter_errors(content["example"])]
                    assert wrong == [], (method, path, what)
                    tried += 1
    assert tried > 150


def test_every_example_is_of_a_schema_that_there_is() -> None:
    document = application("sqlite:///nowhere.db").openapi()
    assert examples.OF_SCHEMAS.keys() <= document["components"]["schemas"].keys()
    assert examples.OF_REPLIES.keys() <= document["paths"].keys()


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    app = application(f"sqlite:///{tmp_path_factory.mktemp('openapi')}/store.db")
    store_schema.migrate(app.state.milepost.database)
    yield schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    asyncio.run(app.state.milepost.aclose())


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_the_api_is_as_its_document_says(document: Any, path: str, method: str) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=document[path][method].as_strategy())
    def holds(case: Any) -> None:
        case.call_and_validate(checks=CHECKS, headers={"host": "localhost"})

    holds()
