"""Runs one resource without a pipeline, and knows what state belongs to which records."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from dlt.common.configuration.container import Container
from dlt.common.json import json
from dlt.common.pipeline import StateInjectableContext
from dlt.extract import DltResource, DltSource
from dlt.extract.incremental import Incremental, IncrementalResourceWrapper
from dlt.extract.items import SupportsPipe
from dlt.extract.items_transform import ItemTransform
from dlt.extract.pipe import Pipe

from milepost.connectors.connector import Cursor, Page, Record
from milepost.connectors.states import says_nothing
from milepost.errors import FatalConnectorError

_LARGEST: Final = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """What a resource yielded at once. No list, which dlt would take apart."""

    items: Any


class KeepBatches(ItemTransform[Any, dict[str, Any]]):
    """The last step of a resource. It also sees how far the resource says to be."""

    # Behind the steps that count and filter, incremental ones too.
    placement_affinity: ClassVar[float] = 2

    def __init__(self) -> None:
        super().__init__(lambda items: items)
        self.incremental: Incremental[Any] | None = None

    def bind(self, pipe: SupportsPipe) -> "KeepBatches":
        """Look for the step that keeps a place, in the pipe that is about to run."""
        for step in pipe.steps if isinstance(pipe, Pipe) else ():
            if isinstance(step, IncrementalResourceWrapper):
                self.incremental = step.incremental
            elif isinstance(step, Incremental):
                self.incremental = step
        return self

    def __call__(self, item: Any, meta: Any = None) -> Batch | None:  # noqa: ARG002 (dlt's)
        """Hand over what is left of what was yielded."""
        return None if item is None else Batch(item)


class ResourceReading:
    """One walk over a resource. All of it has to happen on one thread."""

    def __init__(self, source: DltSource, table: str, after: Cursor, *, page_size: int) -> None:
        self._resource: DltResource = source.resources[table]
        self._name = source.name
        self._page_size = page_size
        self._state: dict[str, Any] = {"sources": {source.name: _from_cursor(after)}}
        # Where a resource replaces all, no state of an earlier run counts, as in a pipeline.
        self._replaces = self._resource.write_disposition == "replace"
        if self._replaces:
            self._state = {"sources": {source.name: {}}}
        self._safe = self._cursor()
        self._step = KeepBatches()
        self._resource.add_step(self._step)
        self._items = self._begin(source.with_resources(table))

    def pages(self) -> Iterator[Page]:
        """Read page by page; the last one says where the next run begins."""
        waiting: list[Record] = []
        for batch in self._items:
            waiting += _records(batch)
            # Only after the whole of a batch a place may be beyond it.
            while len(waiting) > self._page_size * _LARGEST:
                yield Page(waiting[: self._page_size], self._safe)
                del waiting[: self._page_size]
            if len(waiting) >= self._page_size:
                if self._may_go_on_here():
                    self._safe = self._cursor()
                yield Page(waiting, self._safe)
                waiting = []
        end = self._cursor()
        nothing = self._replaces or says_nothing(end["state"])
        yield Page(waiting, end, last=True, bookmark=None if nothing else end)

    def close(self) -> None:
        """End the resource's generators."""
        self._items.close()

    def _begin(self, source: DltSource) -> Any:
        # The iterator keeps the context that it was made in, for each of its steps.
        with Container().injectable_context(StateInjectableContext(state=self._state)):  # type: ignore[arg-type]
            return iter(source)

    def _cursor(self) -> Cursor:
        state = self._state["sources"].get(self._name, {})
        return {"dlt": 1, "state": json.loads(json.typed_dumps(state))}

    def _may_go_on_here(self) -> bool:
        """Whether the state of this moment covers what was yielded, and no more.

        A resource may note a record before it yields it, or yield the newest first: then its
        state is right at its end only. One that says that its records rise is right after each.
        """
        step = self._step.incremental
        if step is None or step.row_order != "asc" or self._resource.is_transformer:
            return False
        # An open range skips what has the same place as the last record, in the next batch too.
        if step.end_value is not None or step.range_start != "closed":
            return False
        state: Mapping[str, Any] = self._state["sources"].get(self._name, {})
        own = state.get("resources", {})
        return set(state) <= {"resources"} and set(own.get(self._resource.name, {})) <= {
            "incremental"
        }


def _from_cursor(cursor: Cursor) -> dict[str, Any]:
    match cursor:
        case None:
            return {}
        case {"dlt": 1, "state": dict(state)}:
            loaded: dict[str, Any] = json.typed_loads(json.dumps(state))
            return loaded
        case _:
            raise FatalConnectorError("the place to go on from is not one of a dlt source")


def _records(batch: Any) -> list[Record]:
    """Turn what a resource yields into JSON."""
    items = batch.items if isinstance(batch, Batch) else batch
    if hasattr(items, "to_pylist"):
        items = items.to_pylist()
    elif hasattr(items, "to_dict") and hasattr(items, "columns"):
        items = items.to_dict("records")
    several = items if isinstance(items, list) else [items]
    rows: list[Record] = json.loads(json.dumps([_row(each) for each in several]))
    return rows


def _row(item: Any) -> Any:
    if hasattr(item, "model_dump"):
        return item.model_dump()
    # As dlt does with what is no record.
    return item if isinstance(item, Mapping) else {"value": item}
