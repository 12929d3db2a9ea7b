"""Every error a user can meet, named by what he must do about it.

MilepostError
├── ConfigurationError      mend a setting, a definition or a service, then start again
│   ├── SettingInvalid          an environment variable
│   ├── DatabaseUrlInvalid      the name of a database
│   ├── DefinitionInvalid       a job definition or its registry
│   ├── ScheduleInvalid         a cron expression, an interval, a time zone, a policy
│   ├── ServiceMissing          a handler asks for a type that nobody registered
│   ├── ConnectionExists        another connection has the name
│   ├── SecretKeyUnfit          no key, or not the one that the stored secrets were encrypted with
│   └── RedisUnfit              this Redis would lose jobs in silence, or serves another store
├── SubmitError             mend the call; nothing was stored
│   ├── PayloadInvalid          args, checkpoint or result do not fit their declared type
│   ├── PayloadTooLarge         … or are larger than the limit
│   ├── UnknownKind             no definition of that kind is registered
│   └── QueueFull               submit again later; carries `retry_after`
├── JobError                the job is not what the caller hoped
│   ├── JobNotFound
│   ├── JobNotRetryable         it is not in a state that people may retry
│   ├── JobEnded                it has ended, and what was to be changed has no meaning any more
│   ├── UniqueKeyTaken          another unfinished job holds its unique key
│   ├── JobFailed               `handle.result()` of a job that failed
│   └── JobWasCancelled         `handle.result()` of a job that was cancelled
├── ScheduleError           the schedule is not what the caller hoped
│   ├── ScheduleNotFound
│   └── ScheduleExists          its name is taken
├── StoreError
│   ├── StoreUnavailable        the database does not answer, or its connection broke
│   └── StoreOutdated           migrate first: `milepost migrate`
├── TooManyLogins           wait, then log in with a token that is one
├── RedisAway               Redis does not answer; the store has everything, try again later
├── ConnectorError          a source
│   ├── RetryableConnectorError     ask again later; carries `retry_after`
│   ├── AuthenticationRefused       mend the credentials
│   ├── CursorExpired               begin the table again: its source has forgotten the place
│   └── FatalConnectorError         asking again changes nothing
│       └── NothingThere                what was asked for does not exist, or not any more
├── SnapshotError           a destination
│   ├── RecordRejected          one record cannot be stored; says which, which field and why
│   ├── PageRefused             the database does not take one of a page's rows
│   └── DestinationTroubled     … or takes nothing for now: its disk is full, say
├── Unrecoverable           raised by a handler: fail at once, however many attempts are left
└── Snooze                  raised by a handler: run me again later, at no cost

AttemptStopped(BaseException)   ends a running attempt; `except Exception` must not swallow it
├── JobCancelled                    somebody asked
├── JobInterrupted                  the worker stops, or its database was lost in a save
├── WaitsForChildren                the job lets go of its worker until its children have ended
├── LimitExceeded                   the attempt took more than its definition allows
│   ├── TimeLimitExceeded               it ran longer
│   ├── CpuLimitExceeded                it used more CPU time
│   └── SilenceLimitExceeded            it neither saved nor reported progress for longer
└── LeaseLost                       another attempt has the job; nothing more can be written
"""

from datetime import timedelta
from typing import Literal


class MilepostError(Exception):
    """The root of everything Milepost raises at its users."""


class ConfigurationError(MilepostError):
    """Something is wired wrongly; mend it and start again."""


class SettingInvalid(ConfigurationError):
    """An environment variable holds what it cannot take."""

    def __init__(self, variable: str, holds: str, takes: str) -> None:
        super().__init__(f"{variable} is {holds!r}, but takes {takes}")
        self.variable = variable
        self.holds = holds
        self.takes = takes


class DatabaseUrlInvalid(ConfigurationError):
    """No database that Milepost can use is named so. `holds` shows no password."""

    def __init__(self, holds: str, takes: str) -> None:
        super().__init__(f"{holds!r} is no database for Milepost, which takes {takes}")
        self.holds = holds
        self.takes = takes


class DefinitionInvalid(ConfigurationError):
    """A job definition cannot work as written."""


class ScheduleInvalid(ConfigurationError):
    """A schedule cannot be as written."""


class ServiceMissing(ConfigurationError):
    """A handler asks for a service that the container cannot make."""


class ConnectionExists(ConfigurationError):
    """The name of a connection is taken."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a connection {name!r} already: --replace puts this in its place"
        )


class SecretKeyUnfit(ConfigurationError):
    """Stored secrets cannot be encrypted or read with the key that there is; nothing is lost."""


class RedisUnfit(ConfigurationError):
    """Redis answers, but must not be used as it is."""


class SubmitError(MilepostError):
    """The job was not stored."""


class PayloadInvalid(SubmitError):
    """A value does not fit its declared type."""


class PayloadTooLarge(SubmitError):
    """A value is larger than the limit allows."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(
            f"{what} is {size:,} bytes as JSON, the limit is {limit:,}: "
            "store the data elsewhere and pass a reference to it"
        )
        self.size = size
        self.limit = limit


class UnknownKind(SubmitError):
    """No definition of that kind is registered."""

    def __init__(self, kind: str, known: list[str]) -> None:
        super().__init__(f"no job kind {kind!r}; known kinds: {', '.join(sorted(known)) or 'none'}")
        self.kind = kind
        self.known = known


class QueueFull(SubmitError):
    """As many jobs wait in the queue as may. `retry_after` is estimated by what ended of late."""

    def __init__(self, queue: str, length: int, limit: int, retry_after: timedelta) -> None:
        super().__init__(
            f"queue {queue!r} is full: {length:,} jobs wait, the limit is {limit:,}; try again in "
            f"about {retry_after.total_seconds():.0f} s"
        )
        self.queue = queue
        self.length = length
        self.limit = limit
        self.retry_after = retry_after


class JobError(MilepostError):
    """A job is not what the caller hoped; `job_id` says which."""

    def __init__(self, job_id: int, message: str) -> None:
        super().__init__(message)
        self.job_id = job_id


class JobNotFound(JobError):
    """No such job: never submitted to this store, or pruned."""

    def __init__(self, job_id: int) -> None:
        super().__init__(job_id, f"no job {job_id} in this store (never submitted, or pruned)")


class JobNotRetryable(JobError):
    """Only failed and cancelled jobs go back to available."""

    def __init__(self, job_id: int, state: str) -> None:
        super().__init__(
            job_id, f"job {job_id} is {state}; only failed and cancelled jobs can be retried"
        )
        self.state = state


class JobEnded(JobError):
    """The job has ended: there is nothing to change any more."""

    def __init__(self, job_id: int, state: str) -> None:
        super().__init__(job_id, f"job {job_id} is {state}: only one that has not ended can change")
        self.state = state


class UniqueKeyTaken(JobError):
    """Another unfinished job holds the unique key, so this one cannot run again now."""

    def __init__(self, job_id: int, unique_key: str) -> None:
        super().__init__(
            job_id,
            f"job {job_id} cannot be retried now: an unfinished job has its unique key "
            f"{unique_key!r}",
        )
        self.unique_key = unique_key


class JobFailed(JobError):
    """The job ended as failed; `error` is its last error."""

    def __init__(self, job_id: int, error: str) -> None:
        super().__init__(job_id, f"job {job_id} failed: {error}")
        self.error = error


class JobWasCancelled(JobError):
    """The job ended as cancelled; `reason` is what the canceller said."""

    def __init__(self, job_id: int, reason: str | None) -> None:
        super().__init__(job_id, f"job {job_id} was cancelled" + (f": {reason}" if reason else ""))
        self.reason = reason


class ScheduleError(MilepostError):
    """A schedule is not what the caller hoped; `name` says which."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class ScheduleNotFound(ScheduleError):
    """No such schedule: never added to this store, or removed."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"no schedule {name!r} in this store (never added, or removed)")


class ScheduleExists(ScheduleError):
    """There is a schedule of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name, f"there is a schedule {name!r} already: remove it, replace it, or choose a name"
        )


class StoreError(MilepostError):
    """The job store cannot do it."""


class StoreUnavailable(StoreError):
    """The database does not answer, or its connection broke: a commit may or may not stand."""


class StoreOutdated(StoreError):
    """The store's tables are older or newer than this version of Milepost."""


class TooManyLogins(MilepostError):
    """Several attempts to log in opened nothing."""

    def __init__(self, most: int, wait: timedelta) -> None:
        super().__init__(
            f"{most} attempts within a minute opened nothing: try again in "
            f"{max(1, round(wait.total_seconds()))} s"
        )
        self.wait = wait


class RedisAway(MilepostError):
    """Redis does not answer, or takes no writes just now."""


class ConnectorError(MilepostError):
    """A source cannot be read."""


class RetryableConnectorError(ConnectorError):
    """Ask again, not before `retry_after` has passed."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthenticationRefused(ConnectorError):
    """The source refuses the credentials; a person must mend them."""


class CursorExpired(ConnectorError):
    """The source no longer knows the place where a walk stood."""


class FatalConnectorError(ConnectorError):
    """Asking again changes nothing. `status`: with what an HTTP source has answered."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NothingThere(FatalConnectorError):
    """What was asked for does not exist, or not any more."""


class SnapshotError(MilepostError):
    """A destination cannot take it."""


class RecordRejected(SnapshotError):
    """One record of a page cannot be stored.

    `index` counts from 0 within the page; `field` is None where the record as a whole is wrong.
    """

    def __init__(self, table: str, index: int, field: str | None, reason: str) -> None:
        where = f"record {index}" if field is None else f"record {index}, field {field!r}"
        super().__init__(f"table {table!r}, {where}: {reason}")
        self.table = table
        self.index = index
        self.field = field
        self.reason = reason


class PageRefused(SnapshotError):
    """The database does not take a row of a page: a constraint that somebody made, a limit."""


class DestinationTroubled(SnapshotError):
    """The database could not do it now: a full disk, a time limit, a deadlock. Try again later."""


class DestinationLocked(SnapshotError):
    """Another process has the DuckDB file; only one at a time can."""


class Unrecoverable(MilepostError):
    """Raise it in a handler to fail the job at once, whatever attempts are left."""


class Snooze(MilepostError):
    """Raise it in a handler to run the job again after a while, at no cost to its failures."""

    def __init__(self, after: timedelta, reason: str | None = None) -> None:
        if not isinstance(after, timedelta):
            raise TypeError(f"Snooze takes a timedelta, not {after!r}")
        if reason is not None and not isinstance(reason, str):
            raise TypeError(f"the reason of a Snooze is text, not {reason!r}")
        super().__init__(reason or f"again in {after}")
        self.after = after
        self.reason = reason


class AttemptStopped(BaseException):
    """Ends a running attempt. Let it pass: a handler that catches it cannot write any more."""


class JobCancelled(AttemptStopped):
    """Somebody asked the job to stop."""


class JobInterrupted(AttemptStopped):
    """The worker stops, or its database was lost; the job goes on from its last checkpoint."""


class WaitsForChildren(AttemptStopped):
    """The job's children have not ended; it goes on from its checkpoint when they have."""

    def __init__(self, on_failure: Literal["fail", "cancel", "go-on"]) -> None:
        super().__init__("the job waits for its children")
        self.on_failure = on_failure


class LimitExceeded(AttemptStopped):
    """The attempt took more than its definition allows; `limit` names what."""

    limit = "limit"


class TimeLimitExceeded(LimitExceeded):
    """The attempt ran longer than its time limit."""

    limit = "time limit"


class CpuLimitExceeded(LimitExceeded):
    """The attempt used more CPU time than its CPU limit."""

    limit = "CPU limit"


class SilenceLimitExceeded(LimitExceeded):
    """The attempt neither saved nor reported progress for longer than its silence limit."""

    limit = "silence limit"


class LeaseLost(AttemptStopped):
    """Another attempt has the job, or may: this one's write was rolled back."""
