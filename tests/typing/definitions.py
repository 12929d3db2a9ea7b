"""Jobs that the files beside this one use rightly and wrongly."""

from dataclasses import dataclass

from sqlalchemy import Connection

from milepost import JobContext, Milepost, SyncJobContext, job


@dataclass(frozen=True)
class Args:
    shop: str


@dataclass(frozen=True)
class Other:
    number: int


@dataclass(frozen=True)
class At:
    page: int = 0


@dataclass(frozen=True)
class Imported:
    pages: int


class Shops:
    """A service."""


def write(conn: Connection, page: int) -> None:
    """A write function."""


@job("import")
async def imports(ctx: JobContext[At], args: Args, *, shops: Shops) -> Imported:
    await ctx.save(At(1), write, 1)
    return Imported(ctx.checkpoint.page)


@job("count")
def counts(ctx: SyncJobContext[At], args: Args) -> int:
    ctx.save(At(1), write, 1)
    return 1


milepost = Milepost([imports, counts])
