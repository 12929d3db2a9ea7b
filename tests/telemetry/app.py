"""What the processes of the tests run: handlers that talk in every way, in every pool."""

import asyncio
import logging
import os
from dataclasses import dataclass

import structlog

from milepost import JobContext, Milepost, SyncJobContext, job

logger = logging.getLogger("shop")


@dataclass(frozen=True)
class Talk:
    """What to say; `wait` until it is cancelled."""

    word: str = "hello"
    wait: bool = False


def say(word: str) -> None:
    """Say it by both ways to log, with a secret beside it."""
    logger.warning("%s by logging, with %s", word, os.environ["SHOP_TOKEN"])
    structlog.get_logger("shop").warning(f"{word} by structlog", shop="acme", token="t0p-s3cret")


@job("talks")
async def talks(ctx: JobContext[None], args: Talk) -> str:
    ctx.log.info("%s by the job's log", args.word)
    say(args.word)
    await asyncio.to_thread(logger.warning, "%s in a thread", args.word)
    while args.wait:
        await asyncio.sleep(0.01)
        ctx.cancel.raise_if_cancelled()
    return args.word


@job("talks-in-a-thread")
def talks_in_a_thread(ctx: SyncJobContext[None], args: Talk) -> str:
    ctx.log.info("%s by the job's log", args.word)
    say(args.word)
    return args.word


@job("talks-in-a-process", pool="process")
def talks_in_a_process(ctx: SyncJobContext[None], args: Talk) -> str:
    with ctx.span("count", of=args.word) as span:
        span.note(letters=len(args.word))
    ctx.log.info("%s by the job's log", args.word)
    say(args.word)
    return args.word


milepost = Milepost([talks, talks_in_a_thread, talks_in_a_process])
