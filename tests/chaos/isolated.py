"""Handlers in child processes that do their worst, and healthy ones beside them."""

import asyncio
import collections
import contextlib
import ctypes
import hashlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from milepost import JobContext, Milepost, SyncJobContext, job

PATIENCE = 120
MEGABYTE = 1_000_000
CHANNEL = 250


@dataclass(frozen=True)
class Deed:
    """What to do, and the folder in which the test and the handler meet."""

    folder: str
    deed: str = ""


@dataclass(frozen=True)
class Step:
    number: int = 0


def exhaust_memory() -> None:
    kept = []
    while True:
        kept.append(b"x" * 5 * MEGABYTE)
        time.sleep(0.02)


def allocate_at_once() -> None:
    bytearray(10**11)


def start_threads() -> None:
    while True:
        # No more than it takes to be noticed: this machine has other things to do.
        if threading.active_count() < 1200:
            threading.Thread(target=time.sleep, args=(PATIENCE,), daemon=True).start()
        else:
            time.sleep(0.1)


def print_garbage() -> None:
    for descriptor in (1, 2):
        os.write(descriptor, os.urandom(200_000) + b"\n" + b"\0" * 200_000)
    print("a line of text", "☠" * 10_000)
    print("another line of text", file=sys.stderr)
    print("and one without an end", end="", file=sys.stderr, flush=True)


def send_garbage() -> None:
    os.write(CHANNEL, b"\xff" * 1000)
    time.sleep(PATIENCE)


def send_json() -> None:
    body = b'{"type": "done", "lease": {"job_id": "1; DROP TABLE jobs", "attempt": []}}'
    os.write(CHANNEL, len(body).to_bytes(4, "big") + body)
    time.sleep(PATIENCE)


def spin() -> None:
    while True:
        pass


def spin_in_c() -> None:
    """Hold the GIL for ever, and look at no signal."""
    collections.deque(itertools.repeat(None), maxlen=0)


def match_for_ever() -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


def hash_for_ever() -> None:
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2**31 - 1)


def ignore_everything() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        with contextlib.suppress(BaseException):
            while True:
                time.sleep(0.001)


def wait_in_place() -> None:
    time.sleep(PATIENCE)


DEEDS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "segfault": lambda: ctypes.string_at(0),
    "exit-0": lambda: os._exit(0),
    "exit-7": lambda: os._exit(7),
    "exhaust-memory": exhaust_memory,
    "allocate-at-once": allocate_at_once,
    "start-threads": start_threads,
    "close-files": lambda: os.closerange(3, 65536),
    "print-garbage": print_garbage,
    "send-garbage": send_garbage,
    "send-json": send_json,
    "spin": spin,
    "spin-in-c": spin_in_c,
    "match": match_for_ever,
    "hash": hash_for_ever,
    "ignore": ignore_everything,
    "wait": wait_in_place,
}


def tell(folder: str, name: str) -> None:
    """Add a line with the time and our process to a file that the test reads."""
    with (Path(folder) / name).open("a") as file:
        file.write(f"{time.time()} {os.getpid()}\n")


def start_grandchildren(folder: str, *, apart: bool) -> None:
    """Start a program and a copy of ourselves; neither ends by itself for long.

    `apart` puts the program into a session of its own.
    """
    for name in ("began", "grandchildren"):
        (Path(folder) / name).touch()
    program = subprocess.Popen(["sleep", str(PATIENCE)], start_new_session=apart)
    copy = os.fork()
    if copy == 0:
        time.sleep(PATIENCE)
        os._exit(0)
    (Path(folder) / "grandchildren").write_text(f"{program.pid} {copy}")


def _do(args: Deed) -> None:
    grandchildren, _, deed = args.deed.rpartition("+")
    if grandchildren:
        start_grandchildren(args.folder, apart=grandchildren == "with-sessions")
    tell(args.folder, "began")
    DEEDS[deed]()


@job("does", pool="process", max_attempts=1)
def does(ctx: SyncJobContext[Step], args: Deed) -> str:
    _do(args)
    return "done"


@job("does-async", pool="process", max_attempts=1)
async def does_async(ctx: JobContext[Step], args: Deed) -> str:
    await asyncio.sleep(0)
    if args.deed == "ignore":
        tell(args.folder, "began")
        await _ignore_everything()
    _do(args)
    return "done"


async def _ignore_everything() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.sleep(PATIENCE)


@job("in-200-mb", pool="process", max_attempts=1, memory_limit=200 * MEGABYTE)
def in_200_mb(ctx: SyncJobContext[Step], args: Deed) -> None:
    _do(args)


@job("in-1-second", pool="process", max_attempts=1, time_limit=timedelta(seconds=1))
def in_1_second(ctx: SyncJobContext[Step], args: Deed) -> None:
    _do(args)


@job("in-1-second-async", pool="process", max_attempts=1, time_limit=timedelta(seconds=1))
async def in_1_second_async(ctx: JobContext[Step], args: Deed) -> None:
    _do(args)


@job("on-half-a-second", pool="process", max_attempts=1, cpu_limit=timedelta(milliseconds=500))
def on_half_a_second(ctx: SyncJobContext[Step], args: Deed) -> None:
    _do(args)


@job("not-silent", pool="process", max_attempts=1, silence_limit=timedelta(seconds=1))
def not_silent(ctx: SyncJobContext[Step], args: Deed) -> None:
    _do(args)


def _save_until_told(ctx: SyncJobContext[Step], args: Deed) -> int:
    """Returns the step after which it began."""
    number = began_at = ctx.checkpoint.number
    while not (Path(args.folder) / "enough").exists():
        number += 1
        ctx.save(Step(number))
        time.sleep(0.05)
    return began_at


@job("saves-in-process", pool="process")
def saves_in_process(ctx: SyncJobContext[Step], args: Deed) -> int:
    return _save_until_told(ctx, args)


@job("saves-in-thread")
def saves_in_thread(ctx: SyncJobContext[Step], args: Deed) -> int:
    return _save_until_told(ctx, args)


@job("saves-in-coroutine")
async def saves_in_coroutine(ctx: JobContext[Step], args: Deed) -> int:
    number = began_at = ctx.checkpoint.number
    while not (Path(args.folder) / "enough").exists():
        number += 1
        await ctx.save(Step(number))
        await asyncio.sleep(0.05)
    return began_at


HEALTHY = (saves_in_process, saves_in_thread, saves_in_coroutine)
LIMITED = (in_200_mb, in_1_second, in_1_second_async, on_half_a_second, not_silent)

milepost = Milepost([does, does_async, *LIMITED, *HEALTHY])
