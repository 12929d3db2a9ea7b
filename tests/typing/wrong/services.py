"""Missing and wrong services, when a test calls a handler directly."""

from milepost import JobContext, SyncJobContext
from tests.typing.definitions import Args, At, Other, Shops, counts, imports


async def calls(ctx: JobContext[At], sync: SyncJobContext[At]) -> None:
    await imports(ctx, Args("acme"))  # error
    await imports(ctx, Args("acme"), shops=Other(1))  # error
    await imports(ctx, Other(1), shops=Shops())  # error
    counts(sync, Args("acme"), shops=Shops())  # error
    counts(ctx, Args("acme"))  # error
