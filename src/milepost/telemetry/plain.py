"""The log as plain text, as it is without any extra."""

import logging
from typing import Final

from milepost.jobs.scope import scope
from milepost.telemetry.redacting import Redactor

LINE: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
NAMES: Final = ("job_id", "attempt", "kind", "queue", "worker")


def belongs_to(record: logging.LogRecord) -> dict[str, str | int]:
    """What a record says of its job: our own records by themselves, all others by their scope."""
    found = scope().known()
    if record.name.partition(".")[0] == "milepost":
        given = vars(record)
        found |= {name: given[name] for name in NAMES if given.get(name) is not None}
    return {name: found[name] for name in NAMES if name in found}


class PlainFormatter(logging.Formatter):
    """One line for each record, with what it belongs to at the end of its first line."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__(LINE)
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Spell a record."""
        facts = belongs_to(record) | getattr(record, "milepost_fields", {})
        said = " ".join(f"{name}={value}" for name, value in facts.items())
        first, *rest = super().format(record).split("\n", 1)
        line = f"{first} [{said}]" if said else first
        return self._redactor.text("\n".join([line, *rest]))
