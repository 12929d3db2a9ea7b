"""The API and the dashboard inside an application of your own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from fastapi import FastAPI

from milepost import JobContext, Milepost, Progress, job
from milepost.web import create_app


@job("count")
async def count(ctx: JobContext[int], args: int) -> int:
    for number in range(ctx.checkpoint, args):
        await ctx.save(number + 1, progress=Progress(number + 1, args))
    return args


milepost = Milepost([count])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with milepost, milepost.worker():
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/work", create_app(milepost))


@app.get("/")
async def hello() -> dict[str, str]:
    return {"dashboard": "/work/"}


async def main() -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn tells nobody)
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    jobs = f"http://127.0.0.1:{port}/work/api/v1/jobs"
    async with aiohttp.ClientSession() as session:
        async with session.post(jobs, json={"kind": "count", "args": 1000}) as reply:
            submitted = await reply.json()
        async with session.get(f"{jobs}/{submitted['id']}/events") as events:
            async for line in events.content:
                if line.startswith(b"event: end"):
                    break
        async with session.get(f"{jobs}/{submitted['id']}") as reply:
            shown = await reply.json()
    print(f"{shown['kind']} is {shown['state']}: {shown['result']}")
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
