"""What the sources of contract tests hold."""

from collections.abc import Mapping, Sequence
from typing import Final

from milepost.connectors import Record
from milepost.testing.connectors import Fault

TABLES: Final[Mapping[str, Sequence[Record]]] = {
    "orders": [{"id": number, "name": f"order {number}"} for number in range(1, 24)],
    "customers": [{"id": 1, "name": "Ada"}],
    "refunds": [],
}


def suffering(
    tables: Mapping[str, Sequence[Record]], fault: Fault
) -> Mapping[str, Sequence[Record]]:
    """Say what these tables hold with a fault that is in the records."""
    name = max(tables, key=lambda each: len(tables[each]))
    records = [dict(record) for record in tables[name]]
    [field, *_] = [each for each in records[0] if each != "id"]
    match fault:
        case "changed type":
            for number, record in enumerate(records):
                if number > len(records) // 2:
                    record[field] = {"was": record[field]} if number % 2 else number
        case "duplicate keys":
            records.append({**records[0], field: "a newer version"})
        case _:
            return tables
    return {**tables, name: records}
