"""How child processes come to the application, and what an application may do to keep them from it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from milepost import SyncJobContext, job
from milepost.jobs.states import JobState
from tests.chaos.client import Client, client
from tests.chaos.processes import alive, below, until, worker
from tests.chaos.programs import APPLICATION, GUARDED, PROGRAM, SHOUT, app, program, write
from tests.servers import RedisServer
from tests.stores import Stores

both_methods = pytest.mark.parametrize("method", ["fork", "spawn"])


@pytest.fixture
def store(stores: Stores, tmp_path: Path) -> Iterator[Client]:
    with client(stores.sqlite(tmp_path / "store.db")) as made:
        yield made


@job("shout")
def shout(ctx: SyncJobContext[None], args: str) -> None:
    """Stands here for the one of the written applications, to be submitted."""


@job("murmur")
def murmur(ctx: SyncJobContext[None], args: str) -> None:
    """The same."""


@pytest.mark.parametrize(
    ("at_import", "left"),
    [
        ("threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()", "threads (1)"),
        ("kept = socket.socket()", "sockets (1)"),
    ],
    ids=["thread", "socket"],
)
def test_what_an_application_starts_at_import_keeps_it_from_being_forked_and_is_named(
    store: Client, tmp_path: Path, at_import: str, left: str
) -> None:
    write(tmp_path, "shop.py", SHOUT, at_import, APPLICATION)
    with worker(store.url, tmp_path / "log", **app(tmp_path)) as started:
        job_id = store.submit(shout, "hello")
        assert store.ended(job_id).state == "completed"
        assert started.said(
            f"by spawn, which takes longer: importing the application leaves {left}"
        )
    assert store.show(job_id)["result"][0] == "HELLO"


def test_an_application_on_postgres_and_redis_is_forked(
    postgres_store_url: str, shared_redis: RedisServer, tmp_path: Path
) -> None:
    write(tmp_path, "shop.py", SHOUT, APPLICATION)
    own = app(
        tmp_path, REDIS_URL=shared_redis.url, MILEPOST_REDIS_PREFIX="{forked}", MILEPOST_DEBUG="1"
    )
    with (
        client(postgres_store_url) as store,
        worker(postgres_store_url, tmp_path / "log", **own) as started,
    ):
        job_id = store.submit(shout, "hello")
        assert store.ended(job_id).state == "completed"
        assert started.said("child processes start by fork")


def test_what_an_application_prints_is_seen_at_once_and_as_often_as_it_is_imported(
    store: Client, tmp_path: Path
) -> None:
    prints = """
        print("imported")

        @job("shout", pool="process")
        def shout(ctx: SyncJobContext[None], args: str) -> None:
            print("printed", args)
    """
    write(tmp_path, "shop.py", prints, APPLICATION)
    own = app(tmp_path, PYTHONUNBUFFERED="", MILEPOST_PROCESSES_MIN="3")
    with worker(store.url, tmp_path / "log", **own) as started:
        store.ended(store.submit(shout, "hello"))
        until(lambda: started.said("printed hello"), "what the handler printed")
        started.signal(signal.SIGTERM)
        assert started.process.wait(30) == 0
        # By the worker, and by the process that the three children were forked from.
        assert started.log.read_text().count("imported") == 2


@both_methods
def test_a_program_s_own_file_works_under_its_guard(
    store: Client, tmp_path: Path, method: str
) -> None:
    path = write(tmp_path, "program.py", SHOUT, APPLICATION, PROGRAM, GUARDED)
    with program(store, path, MILEPOST_PROCESS_START=method) as started:
        assert started.wait(60) == 0, (tmp_path / "log").read_text()
    shouted, ran_in, main = (tmp_path / "log").read_text().split()
    assert shouted == "['WORKS',"
    assert ran_in.strip("']") != main


@both_methods
def test_without_the_guard_the_program_is_told_and_does_not_multiply(
    store: Client, tmp_path: Path, method: str
) -> None:
    path = write(tmp_path, "program.py", SHOUT, APPLICATION, PROGRAM, "asyncio.run(main())")
    log = tmp_path / "log"
    with program(store, path, MILEPOST_PROCESS_START=method) as started:
        until(
            lambda: log.read_text().count("put that under `if __name__ == '__main__':`") >= 2,
            "the program to be told twice",
        )
        processes = below(started.pid)
        # The launcher, and a child or two that try it.
        assert len(processes) <= 3
        started.kill()
        until(lambda: not alive(processes), "all processes to be gone")
    jobs = json.loads(f"[{','.join(store.command('jobs', 'list', '--json').splitlines())}]")
    assert [each["failures"] for each in jobs] == [0]


def test_a_definition_inside_of_a_function_stops_the_worker_s_start_with_one_line(
    store: Client, tmp_path: Path
) -> None:
    inside = """
        def make():
            @job("shout", pool="process")
            def shout(ctx: SyncJobContext[None], args: str) -> None: ...
            return shout

        milepost = Milepost([make()])
    """
    write(tmp_path, "shop.py", inside)
    with worker(store.url, tmp_path / "log", **app(tmp_path)) as started:
        assert started.process.wait(60) == 2
    [line] = started.log.read_text().splitlines()
    assert line.endswith(
        "shout runs in child processes, which import it: define it at the top level of a module, "
        "not inside of 'make'"
    )


def test_services_inside_of_a_function_stop_the_worker_s_start_with_one_line(
    store: Client, tmp_path: Path
) -> None:
    inside = """
        @job("shout", pool="process")
        def shout(ctx: SyncJobContext[None], args: str, *, voice: Path) -> None: ...

        async def main() -> None:
            services = svcs.Registry()
            services.register_value(Path, Path("."))
            milepost = Milepost([shout], services=services)
            async with milepost, milepost.worker():
                raise AssertionError("it has started")

        if __name__ == "__main__":
            asyncio.run(main())
    """
    path = write(tmp_path, "program.py", inside)
    with program(store, path) as started:
        assert started.wait(60) == 1
    *_, line = (tmp_path / "log").read_text().splitlines()
    assert line == (
        "milepost.errors.ConfigurationError: shout runs in child processes, which import the "
        "services it asks for: keep the svcs.Registry, or the Milepost made with it, at the top "
        "level of a module"
    )


def test_jobs_wait_at_no_cost_while_the_application_cannot_be_imported_in_a_child(
    store: Client, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    breaks = f"""
        if Path("{broken}").exists():
            raise RuntimeError("no licence\\nfor this machine")

        @job("murmur")
        def murmur(ctx: SyncJobContext[None], args: str) -> str:
            return args.lower()

        milepost = Milepost([shout, murmur])
    """
    write(tmp_path, "shop.py", SHOUT, breaks)
    # The first child is started for the first job, when the worker itself has long imported it.
    with worker(
        store.url, tmp_path / "log", **app(tmp_path, MILEPOST_PROCESSES_MIN="0")
    ) as started:
        until(lambda: started.said("started"), "the worker to start")
        broken.touch()
        job_id = store.submit(shout, "hello")
        until(lambda: started.said("next try in 1.0 s"), "a second try, later than the first")
        assert store.ended(store.submit(murmur, "HELLO")).state == "completed"
        assert started.said("next try in 0.5 s: RuntimeError: no licence")
        shown = store.show(job_id)
        assert shown["state"] in {"available", "running"}
        assert {each["outcome"] for each in shown["attempts"]} == {"interrupted"}
        # Given back once for each try, and not once for each look.
        assert len(shown["attempts"]) <= 2 * started.log.read_text().count("next try in")

        broken.unlink()
        assert store.ended(job_id).state is JobState.COMPLETED
        assert store.view(job_id).failures == 0
