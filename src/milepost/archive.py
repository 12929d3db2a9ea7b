"""Old jobs into a file, and then out of the store."""

from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final

from pydantic_core import to_json

from milepost.errors import ConfigurationError
from milepost.jobs.states import FINAL, JobState
from milepost.store import archiving, reading
from milepost.store.archiving import Old
from milepost.store.database import Database
from milepost.whole_files import lines_in, whole

FORMATS: Final = (".jsonl", ".jsonl.gz", ".parquet")
AT_ONCE: Final = 500
# What Parquet holds as JSON text, because every job has its own shape.
_NESTED: Final = ("args", "checkpoint", "result", "progress", "tags", "attempts", "log")
_NUMBERS: Final = ("id", "priority", "attempt", "failures", "max_attempts", "rescues")
_MOMENTS: Final = (
    "created_at", "run_at", "started_at", "finished_at", "lease_expires_at", "cancel_requested_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Archived:
    """So many jobs are in the file; so many of them were deleted."""

    jobs: int
    deleted: int


async def archive(
    database: Database,
    path: Path,
    *,
    older_than: timedelta,
    states: Sequence[JobState] = tuple(FINAL),
    kind: str | None = None,
    delete: bool = False,
) -> Archived:
    """Write jobs that ended so long ago into a file, each with its attempts and log lines.

    The file is there when all of it is written, and only then is anything deleted. Raises
    ConfigurationError for a name of no format, or a state that is not final.
    """
    suffix = next((each for each in FORMATS if path.name.endswith(each)), None)
    if suffix is None:
        raise ConfigurationError(
            f"{path.name!r} names no format: let it end in {', '.join(FORMATS)}"
        )
    if not FINAL.issuperset(states):
        raise ConfigurationError(f"only what has ended is archived: {', '.join(sorted(FINAL))}")
    now = await database.query(reading.present, database.clock)
    old = Old(now - older_than, states, kind)
    written: array[int] = array("q")
    with whole(path) as file:
        await (_parquet if suffix == ".parquet" else _json_lines)(
            file, _pages(database, old, written), packed=suffix.endswith(".gz")
        )
    deleted = 0
    for start in range(0, len(written) if delete else 0, AT_ONCE):
        some = list(written[start : start + AT_ONCE])
        deleted += await database.run(archiving.forget, database.clock, old, some)
    return Archived(len(written), deleted)


Page = Sequence[Mapping[str, Any]]


async def _pages(database: Database, old: Old, written: "array[int]") -> AsyncIterator[Page]:
    after = 0
    while page := await database.query(archiving.page, old, after=after, limit=AT_ONCE):
        yield page
        written.extend(row["id"] for row in page)
        after = page[-1]["id"]


async def _json_lines(file: IO[bytes], pages: AsyncIterator[Page], *, packed: bool) -> None:
    with lines_in(file, packed=packed) as lines:
        async for page in pages:
            for row in page:
                lines.write(to_json(row).decode() + "\n")


async def _parquet(file: IO[bytes], pages: AsyncIterator[Page], *, packed: bool) -> None:
    del packed
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigurationError("Parquet needs pyarrow: pip install 'milepost[parquet]'") from None
    moment = pa.timestamp("us", tz="UTC")
    texts = (
        "kind", "queue", "state", "error", "unique_key", "broker_id", "owner", "worker_id",
        "cancel_reason", *_NESTED,
    )  # fmt: skip
    schema = pa.schema(
        [
            *((name, pa.int64()) for name in _NUMBERS),
            *((name, pa.string()) for name in texts),
            *((name, moment) for name in _MOMENTS),
            ("time_limit", pa.float64()),
        ]
    )
    with parquet.ParquetWriter(file, schema) as writer:
        async for page in pages:
            rows = [
                {**row, **{name: to_json(row[name]).decode() for name in _NESTED}} for row in page
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
