"""How often logging in was tried of late, from wherever: all web processes count together."""

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, case, update

from milepost.store.clock import Clock
from milepost.store.tables import login_attempts
from milepost.store.upserts import insert_into

MOST: Final = 5
WITHIN: Final = timedelta(minutes=1)
BUCKETS: Final = 4096


def begin(conn: Connection, clock: Clock, bucket: int) -> timedelta | None:
    """Count an attempt before it is tried, so that many at once are no more than one by one.

    None where it may be tried; else how long to wait, because there were too many.
    """
    tried = login_attempts.c
    over = tried.since <= clock.now(-WITHIN)
    row = conn.execute(
        insert_into(conn.dialect.name, login_attempts)
        .values(bucket=bucket, attempts=1, since=clock.now())
        .on_conflict_do_update(
            index_elements=[tried.bucket],
            set_={
                "attempts": case(
                    (over, 1), (tried.attempts > MOST, MOST + 1), else_=tried.attempts + 1
                ),
                "since": case((over, clock.now()), else_=tried.since),
            },
        )
        .returning(tried.attempts, tried.since, clock.now().label("present"))
    ).one()
    if row.attempts <= MOST:
        return None
    left: timedelta = row.since + WITHIN - row.present
    return left


def succeeded(conn: Connection, bucket: int) -> None:
    """Take an attempt back that was a good one."""
    conn.execute(
        update(login_attempts)
        .where(login_attempts.c.bucket == bucket, login_attempts.c.attempts > 0)
        .values(attempts=login_attempts.c.attempts - 1)
    )
