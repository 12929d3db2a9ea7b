"""The catalog of a manifest: which streams there are, and the one that has a single of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from milepost.connectors.connector import Table
from milepost.connectors.programs.schemas import columns_of
from milepost.errors import FatalConnectorError


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream, as it was described."""

    said: Mapping[str, Any]

    @property
    def is_incremental(self) -> bool:
        """Whether it has a place to begin at, so that only what is new is read."""
        return "incremental" in (self.said.get("supported_sync_modes") or ())

    def table(self, name: str) -> Table:
        """Describe it; a key within nested objects is none of a table."""
        paths = self.said.get("source_defined_primary_key") or ()
        flat = all(len(path) == 1 for path in paths)
        key = tuple(str(path[0]) for path in paths) if flat else ()
        schema = self.said.get("json_schema")
        return Table(name, key, columns_of(schema) if isinstance(schema, Mapping) else {})

    def configured(self) -> dict[str, Any]:
        """Write the catalog that asks for it alone."""
        stream = {
            "stream": self.said,
            "sync_mode": "incremental" if self.is_incremental else "full_refresh",
            "destination_sync_mode": "append",
            "cursor_field": self.said.get("default_cursor_field") or [],
            "primary_key": self.said.get("source_defined_primary_key") or [],
        }
        return {"streams": [stream]}


@dataclass(frozen=True, slots=True)
class Catalog:
    """The streams by their names."""

    streams: Mapping[str, Stream]

    @classmethod
    def of(cls, said: Sequence[Any], *, manifest: str) -> Self:
        """Read a catalog. Raises FatalConnectorError for a stream without a name of its own."""
        streams: dict[str, Stream] = {}
        for each in said:
            name = each.get("name") if isinstance(each, Mapping) else None
            if not isinstance(name, str) or name in streams:
                raise FatalConnectorError(
                    f"{manifest}: a stream has no name, or one that another has: {name!r}"
                )
            streams[name] = Stream(each)
        return cls(streams)
