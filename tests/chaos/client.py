"""A store as a test sees it: from outside, without a process for each look."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.testing import CliRunner

from milepost import Milepost, Settings
from milepost.cli.main import app
from milepost.jobs.states import FINAL
from milepost.store import reading, schema
from milepost.store.reading import JobView
from tests.chaos.processes import until


class Client:
    """Submits jobs, and reads what became of them by the commands that people use."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.milepost = Milepost(settings=Settings(database_url=url), observers=())
        self.database = self.milepost.database
        schema.migrate(self.database)

    def submit(self, definition: Any, args: Any) -> int:
        with self.database.begin() as conn:
            return self.milepost.submit_in(conn, definition, args).job_id

    def view(self, job_id: int) -> JobView:
        with self.database.read() as conn:
            return reading.find(conn, job_id)

    def ended(self, job_id: int) -> JobView:
        """Wait for a job's final state."""
        until(lambda: self.view(job_id).state in FINAL, f"the end of job {job_id}")
        return self.view(job_id)

    def command(self, *arguments: str) -> str:
        """Run a command to its good end; returns what it prints."""
        done = CliRunner().invoke(app, arguments, env={"DATABASE_URL": self.url})
        assert done.exit_code == 0, done.output
        return done.stdout

    def show(self, job_id: int) -> dict[str, Any]:
        """What `milepost jobs show --json` says."""
        shown: dict[str, Any] = json.loads(self.command("jobs", "show", str(job_id), "--json"))
        return shown

    def tell(self, job_id: int) -> str:
        """What `milepost jobs show` says to people."""
        return self.command("jobs", "show", str(job_id))


@contextmanager
def client(url: str) -> Iterator[Client]:
    made = Client(url)
    try:
        yield made
    finally:
        made.database.close()
