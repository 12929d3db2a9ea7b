"""A tap's catalog: which streams there are, and the one that chooses some of them."""

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self

from milepost.connectors.connector import Table
from milepost.connectors.programs.schemas import columns_of
from milepost.connectors.singer.messages import fields_of
from milepost.errors import FatalConnectorError


@dataclass(frozen=True, slots=True)
class Catalog:
    """The entries as the tap wrote them, by the names that its records have."""

    entries: Mapping[str, Mapping[str, Any]]

    @classmethod
    def from_json(cls, said: Any, *, name: str) -> Self:
        """Read a catalog. Raises FatalConnectorError where it is none."""
        streams = said.get("streams") if isinstance(said, Mapping) else None
        if not isinstance(streams, list) or not all(isinstance(each, Mapping) for each in streams):
            raise FatalConnectorError(f"{name}: a catalog has a list named streams, this has none")
        entries: dict[str, Mapping[str, Any]] = {}
        for each in streams:
            names = [each.get("stream"), each.get("tap_stream_id")]
            named = [one for one in names if isinstance(one, str) and one not in entries]
            if not named:
                raise FatalConnectorError(
                    f"{name}: a stream of the catalog has no name, or one that others have: {names}"
                )
            # Tables of one name in two schemas differ by their ids only.
            entries[named[0]] = each
        return cls(entries)

    @property
    def chosen(self) -> list[str]:
        """The streams that it selects; all, where it selects none."""
        selected = [name for name, entry in self.entries.items() if _is_selected(entry)]
        return selected or list(self.entries)

    def names_of(self, name: str) -> set[str]:
        """Say by which names the tap may call a stream."""
        entry = self.entries.get(name, {})
        return {name, *filter(None, (entry.get("stream"), entry.get("tap_stream_id")))}

    def table(self, name: str) -> Table:
        """Describe a stream."""
        entry = self.entries[name]
        root = _metadata(entry).get((), {})
        key = (
            fields_of(entry.get("key_properties"))
            or fields_of(root.get("table-key-properties"))
            or fields_of(root.get("view-key-properties"))
        )
        schema = entry.get("schema")
        return Table(name, key, columns_of(schema) if isinstance(schema, Mapping) else {})

    def reads_all(self, name: str) -> bool:
        """Whether the tap says that it reads this stream in whole each time."""
        entry = self.entries.get(name, {})
        root = _metadata(entry).get((), {})
        method = (
            root.get("replication-method")
            or entry.get("replication_method")
            or root.get("forced-replication-method")
        )
        return isinstance(method, str) and method.upper() == "FULL_TABLE"

    def parents_of(self, name: str) -> set[str]:
        """Name the streams that a stream's entry names as its parents, and theirs."""
        found: set[str] = set()
        waiting = [name]
        by_id = {str(entry.get("tap_stream_id", own)): own for own, entry in self.entries.items()}
        while waiting:
            root = _metadata(self.entries.get(waiting.pop(), {})).get((), {})
            parent = by_id.get(str(root.get("parent-tap-stream-id")))
            if parent is not None and parent not in found:
                found.add(parent)
                waiting.append(parent)
        return found - {name}

    def selecting(self, streams: Collection[str]) -> dict[str, Any]:
        """Write the catalog that selects these streams, and no others, each in its own style."""
        written = []
        for name, entry in self.entries.items():
            copy = deepcopy(dict(entry))
            _select(copy, selected=name in streams)
            written.append(copy)
        return {"streams": written}


def _is_selected(entry: Mapping[str, Any]) -> bool:
    schema = entry.get("schema")
    # What the metadata say comes first, as in singer-python.
    said = _metadata(entry).get((), {}).get("selected")
    if said is None and isinstance(schema, Mapping):
        said = schema.get("selected")
    return said is True


def _select(entry: dict[str, Any], *, selected: bool) -> None:
    schema = entry.setdefault("schema", {})
    if "metadata" not in entry or "selected" in schema:
        schema["selected"] = selected
    if "metadata" not in entry:
        for each in (schema.get("properties") or {}).values():
            if isinstance(each, dict):
                each.setdefault("selected", True)
        return
    metadata = entry["metadata"] or []
    if not any(not each.get("breadcrumb") for each in metadata):
        metadata.append({"breadcrumb": [], "metadata": {}})
    for each in metadata:
        marks = each.setdefault("metadata", {})
        if not each.get("breadcrumb"):
            marks["selected"] = selected
        elif marks.get("inclusion") != "unsupported":
            # What a person chose stays chosen, and what he left out stays out.
            marks.setdefault("selected", True)
    entry["metadata"] = metadata


def _metadata(entry: Mapping[str, Any]) -> dict[tuple[str, ...], Mapping[str, Any]]:
    return dict(_marks(entry.get("metadata")))


def _marks(metadata: Any) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    for each in metadata if isinstance(metadata, list) else ():
        if isinstance(each, Mapping) and isinstance(each.get("metadata"), Mapping):
            yield tuple(map(str, each.get("breadcrumb") or ())), each["metadata"]
