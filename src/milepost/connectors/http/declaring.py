"""Reads an API's description from a YAML, JSON or TOML file, and says in which line it is wrong."""

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter, ValidationError

from milepost.connectors.http.source import HttpSource
from milepost.errors import FatalConnectorError

SOURCE: Final = TypeAdapter(HttpSource)
MOST_SHOWN: Final = 10

Where = Sequence[str | int]


def read_source(path: Path, tables: Sequence[str] = ()) -> dict[str, Any]:
    """Read the fields of a source; to be read of it only those tables, if any are named.

    Raises FatalConnectorError that names file, line and what is expected there.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FatalConnectorError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FatalConnectorError(
            f"{path} is no text: a source is described in YAML or TOML"
        ) from None
    document = _READERS.get(path.suffix, _yaml)(path, text)
    if not isinstance(document, dict):
        raise FatalConnectorError(f"{path}: a source is described by its fields: url, tables …")
    document.setdefault("kind", "http")
    try:
        SOURCE.validate_python(document)
    except ValidationError as error:
        raise FatalConnectorError(_spell(path, text, document, error)) from None
    unknown = [name for name in tables if name not in document.get("tables", {})]
    if unknown:
        raise FatalConnectorError(
            f"{path} has no table {', '.join(map(repr, unknown))}; it has "
            f"{', '.join(document.get('tables', {})) or 'none'}"
        )
    return {**document, "only": list(tables)} if tables else document


def _yaml(path: Path, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise FatalConnectorError(f"{path}{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise FatalConnectorError(f"{path}: not YAML: {error}") from None


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise FatalConnectorError(f"{path}: not JSON: {error}") from None


def _toml(path: Path, text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FatalConnectorError(f"{path}: not TOML: {error}") from None


_READERS: Final = {".toml": _toml, ".json": _json}


def _spell(path: Path, text: str, document: Any, error: ValidationError) -> str:
    # The inputs are left out: they may hold what was meant for a secret.
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    lines = []
    for fault in faults[:MOST_SHOWN]:
        where = _in_document(document, fault["loc"])
        line = _toml_line(text, where) if path.suffix == ".toml" else _yaml_line(text, where)
        missing = fault["loc"][-1] if fault["type"] == "missing" else None
        named = ".".join(map(str, [*where, missing] if missing else where))
        said = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{path}, line {line}: {named + ': ' if named else ''}{said}")
    if len(faults) > MOST_SHOWN:
        lines.append(f"and {len(faults) - MOST_SHOWN} more")
    return "\n".join(lines)


def _in_document(document: Any, loc: Where) -> list[str | int]:
    """Leave out of a fault's place what names the choices between types."""
    where: list[str | int] = []
    for step in loc:
        match document:
            case dict() if step in document:
                document = document[step]
            case list() if isinstance(step, int) and step < len(document):
                document = document[step]
            case _:
                continue
        where.append(step)
    return where


def _yaml_line(text: str, where: Where) -> int:
    # Of JSON, tabs are no YAML.
    node = yaml.compose(text.replace("\t", " "))
    line = 0 if node is None else node.start_mark.line
    for step in where:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    node, line = value, key.start_mark.line
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line
    return int(line) + 1


def _toml_line(text: str, where: Where) -> int:
    """Find the line of a key, by the headers above it; tomllib does not tell."""
    best = 1
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\[?([^\]]+)\]", line)
        key = re.match(r"""\s*["']?([\w.-]+)["']?\s*=""", line)
        if header:
            inside = [part.strip().strip("\"'") for part in header[1].split(".")]
            place = inside
        elif key:
            place = [*inside, *key[1].split(".")]
        else:
            continue
        if place == [str(step) for step in where[: len(place)]]:
            best = number
    return best
