"""A Python application and a Node program on one BullMQ: see `program.cjs` beside this file.

REDIS_URL=redis://localhost:6379 milepost worker examples.bullmq.shop:milepost
"""

from dataclasses import dataclass

from milepost import JobContext, JobDefinition, Milepost, Progress, job


@dataclass(frozen=True)
class Report:
    """`customers` of a shop."""

    shop: str
    customers: int = 3


@dataclass(frozen=True)
class Row:
    """How many customers are done."""

    done: int = 0


@job("report", queue="reports")
async def report(ctx: JobContext[Row], args: Report) -> str:
    """Node adds this one straight to BullMQ; it runs here, resumable at every customer."""
    for done in range(ctx.checkpoint.done + 1, args.customers + 1):
        await ctx.save(Row(done), progress=Progress(done, args.customers, "customers"))
    return f"report of {args.shop}: {args.customers} customers"


@dataclass(frozen=True)
class Mail:
    """A mail to one person."""

    to: str


# No handler: the Node program's worker runs it, and what it returns or throws settles the job here.
send_mail = JobDefinition(
    "send-mail", args=Mail, checkpoint=type(None), result=str, handler=None, queue="mails"
)

milepost = Milepost([report, send_mail])
