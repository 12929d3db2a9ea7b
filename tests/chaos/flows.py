"""The application of a flow whose worker is killed."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

from milepost import Milepost, SyncJobContext, child, job
from tests.chaos.app import reach_and_wait

CHILDREN = 12


@dataclass(frozen=True)
class Where:
    """In the first attempt, wait for the file `go` in `folder` at this moment."""

    folder: str
    moment: Literal["in the save", "after the save"]


@dataclass(frozen=True)
class Split:
    done: bool = False


@job("page")
def page(ctx: SyncJobContext[None], args: int) -> int:
    return args


def insert_and_wait(conn: Connection, wait_in: str | None) -> None:
    conn.execute(text("INSERT INTO pages VALUES (0, 0)"))
    if wait_in is not None:
        reach_and_wait(wait_in)


@job("split")
def split(ctx: SyncJobContext[Split], args: Where) -> int:
    first = ctx.attempt == 1
    if not ctx.checkpoint.done:
        pages = [child(page, number) for number in range(CHILDREN)]
        wait_in = args.folder if first and args.moment == "in the save" else None
        ctx.save(Split(True), insert_and_wait, wait_in, children=pages)
    if first and args.moment == "after the save":
        reach_and_wait(args.folder)
    ctx.wait_for_children()
    return sum(each.result for each in ctx.children(page))


milepost = Milepost([page, split])
