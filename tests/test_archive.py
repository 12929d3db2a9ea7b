"""What has ended goes into a file, and then out of the store: nothing is in neither."""

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from milepost import archive as archiving
from milepost import open_database
from milepost.archive import Archived, archive
from milepost.cli.main import app
from milepost.errors import ConfigurationError, JobNotFound
from milepost.jobs.leases import Settlement
from milepost.jobs.outcomes import Completed, Failed
from milepost.jobs.requests import JobRequest
from milepost.jobs.states import FINAL, JobState
from milepost.store import jobs, logs, reading
from milepost.store.database import Database
from milepost.store.logs import LogLine
from milepost.store.tables import family, joins
from tests.store.family import end
from tests.store.store import HOUR, Store, TurnedClock
from tests.stores import Stores

S = JobState
EVERYTHING = timedelta(0)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, stores: Stores, tmp_path: Path) -> Iterator[Store]:
    url = (
        stores.sqlite(tmp_path / "store.db")
        if request.param == "sqlite"
        else str(request.getfixturevalue("postgres_store_url"))
    )
    clock = TurnedClock()
    database = open_database(url, clock=clock)
    yield Store(database, clock)
    database.close()


def there(store: Store, job_id: int) -> bool:
    try:
        store.find(job_id)
    except JobNotFound:
        return False
    return True


@pytest.mark.parametrize("name", ["old.jsonl", "old.jsonl.gz"])
async def test_old_jobs_are_in_the_file_with_all_that_hangs_on_them_and_then_deleted(
    store: Store, tmp_path: Path, name: str
) -> None:
    job = store.start()
    with store.database.begin() as conn:
        line = LogLine(job.lease, store.clock.present, "info", "half way ★")
        logs.write(conn, [line])
    store.settle(job, Failed("no such shop", "Traceback …", recoverable=False))
    store.clock.turn(2 * HOUR)
    young, waiting = store.job_in(S.COMPLETED), store.submit()

    done = await archive(store.database, tmp_path / name, older_than=HOUR, delete=True)

    assert done == Archived(1, 1)
    held = (tmp_path / name).read_bytes()
    [line_of_it] = (gzip.decompress(held) if name.endswith("gz") else held).splitlines()
    row = json.loads(line_of_it)
    assert (row["id"], row["state"], row["args"]) == (job.lease.job_id, "failed", {})
    assert row["finished_at"] == "2024-05-17T12:00:00.123000Z"
    [attempt] = row["attempts"]
    assert (attempt["outcome"], attempt["traceback"]) == ("failed", "Traceback …")
    assert [each["message"] for each in row["log"]] == ["half way ★"]
    assert [there(store, each) for each in (row["id"], young, waiting)] == [False, True, True]


async def test_parquet_holds_the_same(store: Store, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    job_ids = sorted(store.job_in(state) for state in FINAL)
    store.clock.turn(HOUR)
    done = await archive(store.database, tmp_path / "old.parquet", older_than=EVERYTHING)
    assert done == Archived(3, 0)
    rows = parquet.read_table(tmp_path / "old.parquet").to_pylist()
    assert [row["id"] for row in rows] == job_ids
    assert {row["state"] for row in rows} == FINAL
    assert all(json.loads(row["attempts"]) or row["state"] == "cancelled" for row in rows)
    assert all(there(store, each) for each in job_ids)


async def test_a_file_that_cannot_be_written_deletes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_ids = [store.job_in(S.COMPLETED) for _ in range(4)]
    store.clock.turn(HOUR)
    (tmp_path / "old.jsonl").write_text("the last one\n")
    monkeypatch.setattr(archiving, "AT_ONCE", 2)

    def full(value: object) -> bytes:
        if isinstance(value, dict) and value["id"] == job_ids[2]:
            raise OSError(28, "No space left on device")
        return b"{}"

    monkeypatch.setattr(archiving, "to_json", full)
    with pytest.raises(OSError, match="No space left"):
        await archive(store.database, tmp_path / "old.jsonl", older_than=EVERYTHING, delete=True)
    assert all(there(store, each) for each in job_ids)
    assert (tmp_path / "old.jsonl").read_text() == "the last one\n"
    assert list(tmp_path.glob(".old*")) == []  # noqa: ASYNC240 (a look at a test's folder)


async def test_what_was_retried_meanwhile_stays(store: Store, tmp_path: Path) -> None:
    retried, other = store.job_in(S.FAILED), store.job_in(S.FAILED)
    store.clock.turn(HOUR)

    def retry(database: Database) -> None:
        with database.begin() as conn:
            jobs.retry(conn, store.clock, retried)

    class Retries(Path(tmp_path).__class__):
        """Is put in place when all of it is written: then somebody retries a job."""

        def replace(self, target: Path) -> Path:
            retry(store.database)
            return super().replace(target)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("milepost.whole_files.Path", Retries)
        done = await archive(
            store.database, tmp_path / "old.jsonl", older_than=EVERYTHING, delete=True
        )
    assert done == Archived(2, 1)
    assert there(store, retried)
    assert not there(store, other)


async def test_what_another_job_may_still_read_stays(store: Store, tmp_path: Path) -> None:
    child = store.job_in(S.COMPLETED)
    parent = store.submit(queue="joins", after=(child,))
    store.clock.turn(HOUR)
    path = tmp_path / "old.jsonl"
    done = await archive(store.database, path, older_than=EVERYTHING, delete=True)
    assert done == Archived(1, 0)
    assert there(store, child)
    end(store, parent)
    store.clock.turn(HOUR)
    done = await archive(store.database, path, older_than=EVERYTHING, delete=True)
    assert done == Archived(2, 2)
    assert store.rows(select(joins)) == store.rows(select(family)) == []


async def test_what_is_no_format_or_has_not_ended_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'old.csv' names no format: let it end in"):
        await archive(store.database, tmp_path / "old.csv", older_than=HOUR)
    with pytest.raises(ConfigurationError, match="only what has ended is archived: cancelled, com"):
        await archive(store.database, tmp_path / "a.jsonl", older_than=HOUR, states=[S.RUNNING])
    with pytest.raises(ConfigurationError, match="there is no folder"):
        await archive(store.database, tmp_path / "no" / "a.jsonl", older_than=HOUR)


def test_the_command(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = stores.sqlite(tmp_path / "store.db")
    database = open_database(url)
    request = JobRequest(kind="k", args="{}", queue="q", priority=0, max_attempts=1)
    with database.begin() as conn:
        [submitted] = jobs.submit(conn, database.clock, [request])
        [job] = jobs.claim(
            conn, database.clock, queue="q", kinds=["k"], limit=1,
            lease_for=timedelta(minutes=1), worker_id="w",
        )  # fmt: skip
        jobs.settle(conn, database.clock, [Settlement(job, Completed("7"))])

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner(env={"DATABASE_URL": url}).invoke(app, ["jobs", "archive", *arguments])
        return done.exit_code, done.output

    assert run("a.jsonl", "--older-than", "1d") == (0, "0 jobs are in a.jsonl\n")
    assert run("a.jsonl", "--older-than", "soon")[0] == 2
    assert run("a.jsonl", "--older-than", "1d", "--state", "running")[0] == 2
    assert run("a.jsonl", "--older-than", "0", "--delete") == (
        0, "1 jobs are in a.jsonl, 1 of them deleted\n"
    )  # fmt: skip
    assert json.loads((tmp_path / "a.jsonl").read_text())["result"] == 7
    with database.read() as conn, pytest.raises(JobNotFound):
        reading.find(conn, submitted.job_id)
    database.close()
