"""Wrong results."""

from milepost import JobContext, JobDefinition, SyncJobContext
from tests.typing.definitions import Args, At, Imported, Other, counts, imports, milepost


async def uses() -> None:
    handle = await milepost.submit(imports, Args("acme"))
    number: int = await handle.result()  # error
    (await handle.result()).rows  # error
    text: str = await (await milepost.submit(counts, Args("acme"))).result()  # error
    print(number, text)


async def returns_something_else(ctx: JobContext[At], args: Args) -> Other:
    return Other(1)


async def takes_something_else(ctx: JobContext[At], args: Other) -> Imported:
    return Imported(1)


def keeps_something_else(ctx: SyncJobContext[Other], args: Args) -> Imported:
    return Imported(1)


JobDefinition[Args, At, Imported]("a", args=Args, checkpoint=At, result=Imported, handler=returns_something_else)  # error
JobDefinition[Args, At, Imported]("b", args=Args, checkpoint=At, result=Imported, handler=takes_something_else)  # error
JobDefinition[Args, At, Imported]("c", args=Args, checkpoint=At, result=Imported, handler=keeps_something_else)  # error
