"""Our commands are those that the bullmq package itself builds; a new version shows here first."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bullmq
import msgpack
import pytest
from bullmq import Job
from bullmq.scripts import Scripts as TheirScripts

from milepost.brokers.bullmq import scripts
from milepost.brokers.bullmq.scripts import FILES, Scripts
from milepost.redis import Link
from milepost.settings import RedisSettings

NOW = 1_700_000_000_000


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch, redis_settings: RedisSettings) -> Any:
    monkeypatch.setattr(scripts, "_now", lambda: NOW)
    monkeypatch.setattr("bullmq.scripts.time", SimpleNamespace(time=lambda: NOW / 1000))
    link = Link(redis_settings)
    yield Scripts(link).of("q")
    link.close()


@pytest.fixture
def theirs(redis_settings: RedisSettings) -> Any:
    return TheirScripts(redis_settings.prefix, "q", SimpleNamespace(conn=None, commands={}))


def parts(command: tuple[Any, ...]) -> tuple[list[str], list[Any]]:
    """The keys and the arguments of an EVALSHA, with what is packed laid open."""
    name, _, count, *rest = command
    assert name == "EVALSHA"
    return rest[:count], opened(rest[count:])


def opened(args: Any) -> list[Any]:
    return [msgpack.unpackb(each) if isinstance(each, bytes) else each for each in args]


def job_like(theirs: Any, entry: str, **opts: Any) -> Any:
    queue = SimpleNamespace(opts={}, backend=None, qualifiedName="")
    return Job(queue, "kind", {"a": 1}, {"timestamp": NOW, **opts}, entry)


def test_every_script_takes_the_keys_that_its_file_says(ours: Any) -> None:
    samples = {
        "add": ours.add("m1", "k", "{}", timestamp=1, delay=0, priority=0, attempts=1),
        "add_prioritized": ours.add("m1", "k", "{}", timestamp=1, delay=0, priority=1, attempts=1),
        "add_delayed": ours.add("m1", "k", "{}", timestamp=1, delay=1, priority=0, attempts=1),
        "take": ours.take(token="t", lock_ms=1),
        "finish": ours.complete("m1", "1", token="t", keep=1),
        "delay": ours.delay("m1", 1, token="t", costs=True),
        "put_back": ours.put_back("m1", token="t"),
        "promote": ours.promote("m1"),
        "reprocess": ours.reprocess("m1", "failed"),
        "remove": ours.remove("m1"),
        "extend": ours.extend(["m1"], token="t", lock_ms=1),
        "progress": ours.progress("m1", "1"),
        "change_priority": ours.change_priority("m1", 3),
    }
    assert samples.keys() == FILES.keys()
    for name, command in samples.items():
        declared = re.search(r"-(\d+)\.lua", FILES[name])
        assert declared is not None
        assert command[2] == int(declared[1])
        assert (Path(bullmq.__file__).parent / "commands" / FILES[name]).exists()


def test_finishing(ours: Any, theirs: Any) -> None:
    keys, args = parts(ours.complete("m1", '{"rows":3}', token="t", keep=10))
    their_keys, their_args = theirs.moveToCompletedArgs(
        job_like(theirs, "m1"), {"rows": 3}, {"count": 10}, "t", fetchNext=False
    )
    their_args = opened(their_args)
    assert keys == their_keys
    # What they count, the store has counted.
    assert args[-1].keys() == their_args[-1].keys()
    for uncounted in ("attempts", "attemptsMade"):
        args[-1].pop(uncounted)
        their_args[-1].pop(uncounted)
    assert args == their_args


def test_failing(ours: Any, theirs: Any) -> None:
    fields = {"failedReason": "no", "stacktrace": "[]"}
    keys, args = parts(ours.fail("m1", "no", token="t", keep=5, fields=fields))
    their_keys, their_args = theirs.moveToFailedArgs(
        job_like(theirs, "m1"), "no", {"count": 5}, "t", fetchNext=False, fields_to_update=fields
    )
    assert keys == their_keys
    assert (args[:7], args[8]) == (opened(their_args)[:7], opened(their_args)[8])


def test_delaying(ours: Any, theirs: Any) -> None:
    fields = {"failedReason": "busy", "stacktrace": "[]"}
    for costs in (True, False):
        command = ours.delay("m1", 500, token="t", costs=costs, fields=fields)
        their_keys, their_args = theirs.moveToDelayedArgs(
            "m1", NOW, "t", 500, {"skipAttempt": not costs, "fieldsToUpdate": fields}
        )
        assert parts(command) == (their_keys, opened(their_args))


def test_adding(ours: Any, theirs: Any) -> None:
    command = ours.add("m1", "kind", '{"a":1}', timestamp=NOW, delay=0, priority=4, attempts=3)
    _, (packed, data, options, timestamp) = parts(command)
    job = job_like(theirs, "m1", priority=4, attempts=3)
    their_packed, their_data, their_options = opened(theirs.addJobArgs(job))
    assert (packed, json.loads(data), timestamp) == (their_packed, json.loads(their_data), NOW)
    assert options == {"jobId": "m1", "priority": 4, "attempts": 3}
    assert options.items() <= {**their_options, "jobId": "m1"}.items()


def test_the_rest(ours: Any, theirs: Any) -> None:
    assert parts(ours.promote("m1"))[1] == theirs.promoteArgs("m1")[1]
    assert parts(ours.promote("m1"))[0] == theirs.promoteArgs("m1")[0][:9]
    called: list[Any] = []
    theirs.commands = {
        "extendLocks": lambda keys, args: called.append((keys, opened(args))),
        "removeJob": lambda keys, args: called.append((keys, opened(args))),
    }
    theirs.extendJobLocks(["m1", "m2"], ["t", "t"], 500)
    theirs.remove("m1", remove_children=False)
    extended, removed = called
    assert parts(ours.extend(["m1", "m2"], token="t", lock_ms=500)) == extended
    keys, args = parts(ours.remove("m1"))
    assert (keys, [str(each) for each in args]) == (removed[0], [str(each) for each in removed[1]])
