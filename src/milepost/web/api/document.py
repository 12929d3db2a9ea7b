"""The OpenAPI document: what FastAPI makes of the routes, and what it cannot know."""

from typing import Any, Final

from fastapi import FastAPI

from milepost.web import problems
from milepost.web.api import examples

JSON: Final = "application/json"


def describe(app: FastAPI) -> None:
    """Put problems, examples and the way to say who one is into the document."""
    original = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(original())
        return app.openapi_schema

    app.openapi_schema = None
    app.openapi = described  # type: ignore[method-assign]


def _completed(made: dict[str, Any]) -> dict[str, Any]:
    parts = made.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    schemas["Problem"] = problems.Problem.model_json_schema()
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"token": []}, {}]
    for path, route in made["paths"].items():
        for operation in route.values():
            # FastAPI's own shape of this error is not ours.
            operation.get("responses", {}).get("422", {}).get("content", {}).pop(JSON, None)
            for content in _contents(operation):
                example = _example(content.get("schema", {}), path)
                if example is not None:
                    content["example"] = example
    return made


def _contents(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Find what an operation takes and gives as JSON, problems too."""
    told = [operation.get("requestBody", {}), *operation.get("responses", {}).values()]
    found = (each.get("content", {}) for each in told)
    return [content[kind] for content in found for kind in (JSON, problems.MEDIA_TYPE)
            if kind in content]  # fmt: skip


def _example(schema: dict[str, Any], path: str) -> Any:
    if "$ref" in schema:
        return examples.OF_SCHEMAS.get(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], path)
    if "$ref" in schema.get("items", {}):
        return [_example(schema["items"], path)]
    members = schema.get("additionalProperties")
    if isinstance(members, dict) and "$ref" in members:
        return {"orders": _example(members, path)}
    return examples.OF_REPLIES.get(path)
