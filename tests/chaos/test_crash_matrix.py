"""Handlers at their worst, each alone and beside nine healthy jobs of one worker for all.

What became of them is read as people read it: in the sentence that `milepost jobs show` prints.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from milepost.jobs.states import JobState
from tests.chaos import isolated
from tests.chaos.matrix import Bench, Case, bench_with
from tests.chaos.processes import until

MB = r"[\d,]+ MB"
PEAK = rf"; it used {MB} of memory at most"
BY_SIGNAL = r"its process was killed by signal "

# The process dies under the handler, each time that it is tried.
DEADLY = [
    Case(isolated.does, "kill", BY_SIGNAL + r"9 \(SIGKILL\), by somebody or by the system" + ".*"),
    Case(isolated.does_async, "kill", BY_SIGNAL + r"9 \(SIGKILL\).*" + PEAK),
    Case(isolated.does, "segfault", BY_SIGNAL + r"11 \(SIGSEGV\)" + PEAK, "Segmentation fault"),
    Case(isolated.does_async, "segfault", BY_SIGNAL + r"11 \(SIGSEGV\)" + PEAK, "isolated.py"),
    Case(isolated.does, "abort", BY_SIGNAL + r"6 \(SIGABRT\)" + PEAK, "isolated.py"),
    Case(isolated.does, "exit-0", "its process left with exit code 0 while the handler ran" + PEAK),
    Case(isolated.does, "exit-7", "its process left with exit code 7 while the handler ran" + PEAK),
    Case(isolated.does, "close-files", "its process lost its connection to the worker, as .*files"),
    Case(isolated.does_async, "close-files", "its process lost its connection to the worker, as"),
    Case(isolated.does, "send-garbage", "its process was killed: it sent what is no message: "),
    Case(isolated.does, "send-json", "its process was killed: it sent what is no message: "),
    Case(isolated.does, "with-sessions+kill", BY_SIGNAL + r"9 \(SIGKILL\)"),
]
# One attempt, which fails by its own fault.
LIMIT = r"ran longer than 0:00:01"
LIMITED = [
    Case(isolated.in_200_mb, "exhaust-memory", rf"memory limit: used {MB}, and 200 MB are allowed"),
    Case(isolated.in_200_mb, "allocate-at-once", "memory limit: refused what is far past 200 MB"),
    Case(isolated.does, "start-threads", r"thread limit: had 1,\d+ threads, and 1,000 are allowed"),
    Case(isolated.in_1_second, "spin", f"time limit: {LIMIT}"),
    Case(isolated.in_1_second, "spin-in-c", f"time limit: {LIMIT}"),
    Case(isolated.in_1_second_async, "ignore", f"time limit: {LIMIT}"),
    Case(isolated.on_half_a_second, "hash", "CPU limit: used more than 0:00:00.5"),
    Case(isolated.not_silent, "with-grandchildren+wait", "silence limit: neither saved nor report"),
]
# The handler would never return, and nothing but a cancel ends it.
ENDLESS = [
    *(
        Case(isolated.does, deed)
        for deed in ("spin", "spin-in-c", "match", "hash", "ignore", "stop")
    ),
    *(Case(isolated.does_async, deed) for deed in ("spin", "spin-in-c", "ignore")),
    Case(isolated.does, "with-sessions+ignore"),
    Case(isolated.does, "with-grandchildren+wait"),
]

# All that share a worker run in one process of the tests, so that it is started once.
alone = pytest.mark.xdist_group("crash matrix")
beside_nine = pytest.mark.xdist_group("crash matrix, beside nine")
sqlite = pytest.mark.parametrize(
    "bench_of_all",
    [
        pytest.param(("sqlite", 0), id="alone", marks=alone),
        pytest.param(("sqlite", 9), id="beside nine", marks=beside_nine),
    ],
    indirect=True,
)
postgres = pytest.mark.parametrize(
    "bench_of_all", [pytest.param(("postgres", 9), id="beside nine", marks=alone)], indirect=True
)


@pytest.fixture(scope="module")
def bench_of_all(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    database, healthy = request.param
    folder = tmp_path_factory.mktemp("matrix")
    url = f"sqlite:///{folder}/store.db"
    if database == "postgres":
        url = request.getfixturevalue("postgres").create_database()
    with bench_with(healthy, url, folder) as made:
        yield made


@pytest.fixture
def bench(bench_of_all: Bench) -> Iterator[Bench]:
    """The same for one case, during which the healthy jobs have to go on."""
    before = bench_of_all.checkpoints()
    yield bench_of_all
    until(
        lambda: all(a != b for a, b in zip(before, bench_of_all.checkpoints(), strict=True)),
        "the healthy jobs to save again",
    )
    assert bench_of_all.worker.process.poll() is None


def see_it_die(bench: Bench, folder: Path, case: Case) -> None:
    job_id = bench.begin(case.job, folder, case.deed)
    assert bench.store.ended(job_id).state == "failed"

    three_times = "its process died 3 times in a row, nothing new saved between; the last time: "
    shown = bench.read(job_id, three_times + case.says, case.traced)
    assert [each["outcome"] for each in shown["attempts"]] == ["crashed"] * 3
    assert [each["state"] for each in shown["attempts"]] == ["available", "available", "failed"]
    for each in shown["attempts"][:-1]:
        assert re.match(case.says, each["error"]), each["error"]
    assert (shown["attempt"], shown["rescues"]) == (3, 3)

    bench.nothing_is_left_of(folder, process=True)
    began = [float(line.split()[0]) for line in (folder / "began").read_text().splitlines()]
    gaps = [f"{(after - before) * 1000:.0f}" for before, after in pairwise(began)]
    print(f"{case}: ran again after {' and '.join(gaps)} ms")


@sqlite
@pytest.mark.parametrize("case", DEADLY, ids=str)
def test_a_process_that_dies_under_its_job_is_named(
    bench: Bench, tmp_path: Path, case: Case
) -> None:
    see_it_die(bench, tmp_path, case)


@postgres
@pytest.mark.parametrize("case", DEADLY[:1], ids=str)
def test_a_process_that_dies_under_its_job_is_named_on_postgres(
    bench: Bench, tmp_path: Path, case: Case
) -> None:
    see_it_die(bench, tmp_path, case)


def see_it_fail(bench: Bench, folder: Path, case: Case) -> None:
    job_id = bench.begin(case.job, folder, case.deed)
    assert bench.store.ended(job_id).state == "failed"

    shown = bench.read(job_id, case.says, case.traced)
    assert [each["outcome"] for each in shown["attempts"]] == ["failed"]
    assert (shown["failures"], shown["rescues"]) == (1, 0)
    bench.nothing_is_left_of(folder)


@sqlite
@pytest.mark.parametrize("case", LIMITED, ids=str)
def test_a_handler_past_a_limit_fails_and_is_told_which(
    bench: Bench, tmp_path: Path, case: Case
) -> None:
    see_it_fail(bench, tmp_path, case)


@postgres
@pytest.mark.parametrize("case", LIMITED[:1], ids=str)
def test_a_handler_past_a_limit_fails_and_is_told_which_on_postgres(
    bench: Bench, tmp_path: Path, case: Case
) -> None:
    see_it_fail(bench, tmp_path, case)


def see_it_stopped(bench: Bench, folder: Path, case: Case) -> None:
    job_id = bench.begin(case.job, folder, case.deed)
    told = bench.store.command("jobs", "cancel", str(job_id), "--reason", "enough of this")
    assert told == f"job {job_id} is cancelled\n"

    shown = bench.store.show(job_id)
    assert (shown["state"], shown["cancel_reason"]) == ("cancelled", "enough of this")
    assert [each["outcome"] for each in shown["attempts"]] == ["cancelled"]
    assert "enough of this" in bench.store.tell(job_id)
    view = bench.store.view(job_id)
    assert view.finished_at is not None
    assert view.cancel_requested_at is not None
    took = (view.finished_at - view.cancel_requested_at).total_seconds()
    assert took < 10
    print(f"{case}: cancelled after {took:.2f} s, of which 0.2 s are grace")
    bench.nothing_is_left_of(folder, process=True)


@sqlite
@pytest.mark.parametrize("case", ENDLESS, ids=str)
def test_promise_5_a_handler_that_never_returns_is_stopped_by_force(
    bench: Bench, tmp_path: Path, case: Case
) -> None:
    see_it_stopped(bench, tmp_path, case)


@postgres
@pytest.mark.parametrize("case", ENDLESS[1:2], ids=str)
def test_promise_5_a_handler_that_never_returns_is_stopped_by_force_on_postgres(
    bench: Bench, tmp_path: Path, case: Case
) -> None:
    see_it_stopped(bench, tmp_path, case)


@sqlite
@pytest.mark.parametrize("job", [isolated.does, isolated.does_async], ids=["def", "async def"])
def test_whatever_a_handler_prints_it_completes(bench: Bench, tmp_path: Path, job: Any) -> None:
    job_id = bench.begin(job, tmp_path, "print-garbage")
    assert bench.store.ended(job_id).state is JobState.COMPLETED
    shown = bench.store.show(job_id)
    assert (shown["attempt"], shown["failures"], shown["error"]) == (1, 0, None)
    for line in ("a line of text", "another line of text"):
        until(lambda line=line: bench.worker.said(line), f"the worker to print {line!r}")
