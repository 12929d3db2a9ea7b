"""Reads the entries that other programs added."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from milepost.brokers.bullmq.entries import entry_id, foundling
from milepost.errors import PayloadInvalid, PayloadTooLarge
from milepost.jobs.limits import PLAIN
from milepost.jobs.registry import Registry
from milepost.redis.link import pairs
from milepost.store.adoption import Foundling


class Foundlings:
    """Says what there is to adopt, with the defaults of its definition and our limits."""

    def __init__(self, registry: Registry, *, largest_args: int) -> None:
        self._registry = registry
        self._largest_args = largest_args

    def read(
        self, queue: str, entries: Mapping[str, Sequence[str]]
    ) -> tuple[list[Foundling], dict[str, str]]:
        """Read entries by their ids; also returns those that cannot be taken, with the reason."""
        found = [
            foundling(queue, entry, fields, default_attempts=self._attempts(fields.get("name")))
            for entry, flat in entries.items()
            for fields in [pairs(flat)]
        ]
        dropped = {
            entry_id(each.broker_id): why for each in found if (why := self._too_large(each))
        }
        taken = [each for each in found if entry_id(each.broker_id) not in dropped]
        return [replace(each, lane=self._lane(each)) for each in taken], dropped

    def _lane(self, found: Foundling) -> str:
        if found.kind not in self._registry:
            return PLAIN
        try:
            return self._registry[found.kind].lane(found.args, None)
        except PayloadInvalid:
            # Its attempt will say what does not fit.
            return PLAIN

    def refuses(self, kind: str | None, args_size: int) -> bool:
        """Whether an entry is for no worker like this one, whatever room that has."""
        return kind is None or kind not in self._registry or args_size > self._largest_args

    def _attempts(self, kind: str | None) -> int:
        if kind is None or kind not in self._registry:
            return 1
        return self._registry[kind].max_attempts

    def _too_large(self, found: Foundling) -> str | None:
        size = len(found.args.encode())
        if size <= self._largest_args:
            return None
        return str(PayloadTooLarge(f"args of {found.kind}", size, self._largest_args))
