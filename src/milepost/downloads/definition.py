"""`download-records`: from a source into a snapshot, resumable at every page."""

from datetime import timedelta
from typing import Final

from sqlalchemy.exc import DBAPIError

from milepost.downloads.args import DownloadRecords
from milepost.downloads.children import WithChildren
from milepost.downloads.copying import Copying
from milepost.downloads.destinations import destination
from milepost.downloads.sources import Sources
from milepost.downloads.state import Downloaded, Position
from milepost.errors import (
    AuthenticationRefused,
    CursorExpired,
    DestinationLocked,
    DestinationTroubled,
    FatalConnectorError,
    RetryableConnectorError,
    SnapshotError,
    Snooze,
    Unrecoverable,
)
from milepost.jobs.context import JobContext
from milepost.jobs.definition import job
from milepost.store.database import open_database

# A source may name any moment, by mistake too.
LONGEST_SNOOZE: Final = timedelta(days=1)
LOCKED_FOR: Final = timedelta(seconds=5)


@job("download-records", queue="downloads", max_attempts=5)
async def download_records(
    ctx: JobContext[Position], args: DownloadRecords, *, sources: Sources
) -> Downloaded:
    """Copy the tables of a source, page by page; each page and its checkpoint are one commit."""
    try:
        database = open_database(destination(args.into, sources.secrets))
        found = await sources.find(args.source)
        connector = await sources.open(
            found,
            on_wait=lambda why, wait: _say_wait(ctx, why, wait),
            on_log=lambda said: ctx.log.info("%s", said),
        )
        if args.children:
            connector = WithChildren(connector, args.children)
        try:
            await ctx.keep_checkpoint_in(database)
            return await Copying(
                ctx, args, found, connector, database, observe=sources.observe
            ).run()
        finally:
            await connector.aclose()
            database.close()
    except CursorExpired as error:
        raise RetryableConnectorError(str(error)) from error
    except RetryableConnectorError as error:
        if error.retry_after is None:
            raise
        # The source says when to come back: that is no failure of the job.
        raise Snooze(min(error.retry_after, LONGEST_SNOOZE), str(error)) from error
    except DestinationLocked as error:
        # Somebody reads it, or an attempt that was given up still runs: that is no failure.
        raise Snooze(LOCKED_FOR, str(error)) from error
    except DBAPIError as error:
        raise DestinationTroubled(f"the destination {args.into}: {_first_line(error)}") from error
    except (AuthenticationRefused, FatalConnectorError, SnapshotError) as error:
        raise Unrecoverable(str(error)) from error


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0]


def _say_wait(ctx: JobContext[Position], why: str, wait: timedelta) -> None:
    ctx.log.warning("%s; waiting %.1f s", why, wait.total_seconds())
