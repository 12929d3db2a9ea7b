"""Finds what dlt's decorators have made, and says what its hints tell of tables."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any, Final

from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.schema import Schema
from dlt.extract import DltResource, DltSource
from dlt.extract.exceptions import DltSourceException

from milepost.connectors.connector import ColumnType, Table
from milepost.errors import FatalConnectorError

_TYPES: Final[Mapping[str, ColumnType]] = {
    "bigint": "integer",
    "double": "float",
    "bool": "boolean",
    "timestamp": "timestamp",
    "json": "json",
    # Exact as text only.
    "decimal": "text",
    "wei": "text",
    "text": "text",
    "date": "text",
    "time": "text",
    "binary": "text",
}


def find(named: str, arguments: Mapping[str, Any]) -> DltSource:
    """Import a source and call it; a resource is a source with one.

    Raises FatalConnectorError where there is none, or it does not take these arguments.
    """
    found = _imported(named)
    if not isinstance(found, DltSource | DltResource) or (arguments and callable(found)):
        try:
            found = found(**arguments)
        except (TypeError, ValueError, ConfigurationException, DltSourceException) as error:
            raise FatalConnectorError(f"{named} cannot be called: {_first_line(error)}") from None
    match found:
        case DltSource():
            # A copy: steps are added to what is read.
            return found.clone()
        case DltResource():
            return DltSource(Schema(found.source_name or found.name), found.section, [found])
        case [*several] if several and all(isinstance(each, DltResource) for each in several):
            first: DltResource = several[0]
            return DltSource(Schema(named.rpartition(".")[2]), first.section, several)
        case _:
            raise FatalConnectorError(
                f"{named} is no source and no resource of dlt, but {type(found).__name__}"
            )


def table_of(resource: DltResource) -> Table:
    """Describe a resource by its hints; those that depend on its records tell nothing."""
    try:
        columns = resource.compute_table_schema()["columns"]
    except DltSourceException:
        return Table(resource.name)
    key = tuple(name for name, column in columns.items() if column.get("primary_key"))
    types = {name: _TYPES.get(column.get("data_type") or "") for name, column in columns.items()}
    return Table(
        resource.name, key, {name: type_ for name, type_ in types.items() if type_ is not None}
    )


def _imported(named: str) -> Any:
    module, _, attribute = named.rpartition(".")
    if not module:
        module = f"dlt.sources.{attribute}"
    if "" not in sys.path:
        # A source lies where its people stand; but it hides nothing that is installed.
        sys.path.append("")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise FatalConnectorError(f"{named}: there is no module {error.name} to import") from None
    except AttributeError:
        raise FatalConnectorError(f"{named}: the module {module} has no {attribute}") from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
