"""The job that bench/web.py listens to."""

import asyncio
import time

from milepost import JobContext, Milepost, job

STEP = 0.02


@job("report")
async def report(ctx: JobContext[None], args: int) -> float:
    """Report so many times, 50 a second; returns how long it took."""
    began = time.perf_counter()
    for number in range(1, args + 1):
        ctx.progress(number, args, f"step {number}")
        await asyncio.sleep(max(0, began + number * STEP - time.perf_counter()))
    return time.perf_counter() - began


milepost = Milepost([report], observers=())
