"""Every setting: its environment variable, its default, what it takes. Checked once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Final, Literal, get_args, get_origin

from milepost.database_urls import parse_store_url
from milepost.errors import DatabaseUrlInvalid, SettingInvalid

ServiceType = Literal["worker", "web", "monolith"]
"""Which parts a process runs."""

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*(ms|s|m|h|d)?")
# A hundred years: past that, calendars end and statements fail.
LONGEST: Final = timedelta(days=36_500)


def _setting(
    variable: str, default: Any, help_text: str, *, least: Any = None, secret: bool = False
) -> Any:
    return field(
        default=default,
        repr=not secret,
        metadata={"variable": variable, "help": help_text, "least": least},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """How a worker takes, runs and keeps jobs."""

    queues: tuple[str, ...] = _setting(
        "MILEPOST_QUEUES", (), "queues to take jobs from; empty: those of the definitions"
    )
    concurrency: int = _setting(
        "MILEPOST_CONCURRENCY", 2, "how many jobs one worker runs at once", least=1
    )
    queue_concurrency: tuple[tuple[str, int], ...] = _setting(
        "MILEPOST_QUEUE_CONCURRENCY",
        (),
        "how many jobs of a queue one worker runs at once: sync=2, reports=1",
    )
    lease_for: timedelta = _setting(
        "MILEPOST_LEASE_FOR",
        timedelta(seconds=15),
        "how long a worker may be silent before its jobs are given to others",
        least=timedelta(milliseconds=500),
    )
    poll_every: timedelta = _setting(
        "MILEPOST_POLL_EVERY",
        timedelta(seconds=1),
        "how often to look for jobs that no signal told of",
        least=timedelta(milliseconds=10),
    )
    stop_grace: timedelta = _setting(
        "MILEPOST_STOP_GRACE",
        timedelta(seconds=25),
        "how long running jobs may take to save when the worker stops",
        least=timedelta(0),
    )
    cancel_grace: timedelta = _setting(
        "MILEPOST_CANCEL_GRACE",
        timedelta(seconds=2),
        "how long a job that was told to stop may go on before it is forced",
        least=timedelta(0),
    )
    blocked_after: timedelta = _setting(
        "MILEPOST_BLOCKED_AFTER",
        timedelta(seconds=1),
        "how long a handler may block the coroutines' loop before it is reported",
        least=timedelta(milliseconds=200),
    )
    most_rescues: int = _setting(
        "MILEPOST_MOST_RESCUES",
        3,
        "how many workers, or handlers' processes, may die in a row on one job before it fails",
        least=1,
    )
    misfits_for: timedelta = _setting(
        "MILEPOST_MISFITS_FOR",
        timedelta(minutes=10),
        "how long what does not fit its definition waits for a newer worker; 0: it fails at once",
        least=timedelta(0),
    )
    keep_completed_for: timedelta = _setting(
        "MILEPOST_KEEP_COMPLETED_FOR",
        timedelta(days=30),
        "how long completed jobs stay in the history",
        least=timedelta(0),
    )
    keep_failed_for: timedelta = _setting(
        "MILEPOST_KEEP_FAILED_FOR",
        timedelta(days=90),
        "how long failed and cancelled jobs stay in the history",
        least=timedelta(0),
    )
    keep_completed_count: int = _setting(
        "MILEPOST_KEEP_COMPLETED_COUNT",
        0,
        "how many completed jobs of each kind stay in the history; 0: as many as there are",
        least=0,
    )
    keep_failed_count: int = _setting(
        "MILEPOST_KEEP_FAILED_COUNT",
        0,
        "how many failed jobs, and how many cancelled ones, of each kind stay; 0: all",
        least=0,
    )

    def __post_init__(self) -> None:
        _check_least(self)
        for queue, most in self.queue_concurrency:
            if most < 1:
                raise ValueError(f"queue_concurrency of {queue} must be at least 1, not {most}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessSettings:
    """How many child processes a worker keeps, and for how long."""

    least: int = _setting(
        "MILEPOST_PROCESSES_MIN", 1, "how many child processes a worker keeps ready", least=0
    )
    most: int = _setting(
        "MILEPOST_PROCESSES_MAX", 4, "how many child processes a worker has at most", least=1
    )
    idle_for: timedelta = _setting(
        "MILEPOST_PROCESS_IDLE_FOR",
        timedelta(seconds=30),
        "how long a child process past the minimum may be idle before it ends",
        least=timedelta(0),
    )
    most_waiting: int = _setting(
        "MILEPOST_PROCESS_WAITING", 100, "how many jobs may wait for a child process", least=0
    )
    most_jobs: int = _setting(
        "MILEPOST_PROCESS_JOBS",
        1000,
        "how many jobs a child process runs before a new one takes its place",
        least=1,
    )
    most_memory: int = _setting(
        "MILEPOST_PROCESS_MEMORY",
        500_000_000,
        "past how much memory, in bytes, a child process that has no job is replaced",
        least=1,
    )
    start: Literal["fork", "spawn"] = _setting(
        "MILEPOST_PROCESS_START",
        "fork",
        "how child processes start: fork, where that is safe, or spawn",
    )

    def __post_init__(self) -> None:
        _check_least(self)
        if self.least > self.most:
            raise ValueError(f"least must be at most {self.most}, the most, not {self.least}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisSettings:
    """Where Redis is and what it is trusted with. Without `url` and `host` there is none."""

    url: str | None = _setting(
        "REDIS_URL",
        None,
        "Redis: redis://, rediss://, unix:// or redis+sentinel://",
        secret=True,
    )
    host: str | None = _setting("REDIS_HOST", None, "Redis, where there is no REDIS_URL")
    port: int = _setting("REDIS_PORT", 6379, "its port", least=1)
    password: str | None = _setting("REDIS_PASSWORD", None, "its password", secret=True)
    prefix: str = _setting(
        "MILEPOST_REDIS_PREFIX",
        "{milepost}",
        "what all keys begin with; braces keep them together in a cluster",
    )
    away_after: timedelta = _setting(
        "MILEPOST_REDIS_AWAY_AFTER",
        timedelta(seconds=2),
        "how long Redis may be away before workers take jobs from the store itself",
        least=timedelta(0),
    )
    answer_within: timedelta = _setting(
        "MILEPOST_REDIS_ANSWER_WITHIN",
        timedelta(seconds=2),
        "how long to wait for Redis's answer before it counts as away",
        least=timedelta(milliseconds=50),
    )
    keep_completed: int = _setting(
        "MILEPOST_REDIS_KEEP_COMPLETED", 10, "how many completed jobs stay in Redis", least=0
    )
    keep_failed: int = _setting(
        "MILEPOST_REDIS_KEEP_FAILED", 5, "how many failed jobs stay in Redis", least=0
    )

    def __post_init__(self) -> None:
        _check_least(self)

    @property
    def given(self) -> bool:
        """Whether there is a Redis."""
        return bool(self.url or self.host)


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretKeySettings:
    """Where the key is that stored credentials are encrypted with."""

    keys: str | None = _setting(
        "MILEPOST_SECRET_KEY",
        None,
        "the key of stored credentials; several with commas: the first encrypts, all decrypt",
        secret=True,
    )
    file: str | None = _setting(
        "MILEPOST_SECRET_KEY_FILE",
        None,
        "a file with the key, which only its owner may read; or `milepost.key` beside SQLite",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class WebSettings:
    """Where the HTTP API and the dashboard are."""

    host: str = _setting(
        "MILEPOST_HOST", "127.0.0.1", "the address that the API and the dashboard listen on"
    )
    port: int = _setting("MILEPOST_PORT", 8080, "their port; 0: one that is free", least=0)

    def __post_init__(self) -> None:
        _check_least(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class NotifySettings:
    """How people are told of failures; whom to tell stands in the store."""

    public_url: str | None = _setting(
        "MILEPOST_PUBLIC_URL", None, "where people reach the dashboard, for links to it"
    )
    gather_for: timedelta = _setting(
        "MILEPOST_NOTIFY_GATHER_FOR",
        timedelta(seconds=5),
        "what happens within so long of a first failure is told with it",
        least=timedelta(0),
    )
    rest_for: timedelta = _setting(
        "MILEPOST_NOTIFY_REST_FOR",
        timedelta(minutes=1),
        "how long a route is told nothing after a message",
        least=timedelta(0),
    )
    first_wait: timedelta = _setting(
        "MILEPOST_NOTIFY_AGAIN_AFTER",
        timedelta(seconds=5),
        "when a message that was not taken is sent again; each time twice as long, up to 15m",
        least=timedelta(milliseconds=1),
    )
    late_after: timedelta = _setting(
        "MILEPOST_QUEUE_LATE_AFTER",
        timedelta(minutes=10),
        "how long a queue's oldest job may wait before people are told",
        least=timedelta(milliseconds=1),
    )

    def __post_init__(self) -> None:
        _check_least(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class TelemetrySettings:
    """How the log is written, where metrics are read, and whether there are traces."""

    log_format: Literal["text", "console", "json"] = _setting(
        "MILEPOST_LOG_FORMAT",
        "text",
        "how the log of worker, web and up is written: text, console (in colour) or json",
    )
    metrics_port: int = _setting(
        "MILEPOST_METRICS_PORT",
        0,
        "the port of a worker that Prometheus reads; 0: none, the API has /metrics too",
        least=0,
    )
    metrics_host: str = _setting(
        "MILEPOST_METRICS_HOST", "127.0.0.1", "the address that this port listens on"
    )
    metrics_queues: int = _setting(
        "MILEPOST_METRICS_QUEUES",
        50,
        "how many queues that no definition names have metrics of their own; the rest are 'other'",
        least=0,
    )
    traces: Literal["off", "on"] = _setting(
        "MILEPOST_TRACES",
        "off",
        "on: send OpenTelemetry traces, to where the variables OTEL_… say",
    )

    def __post_init__(self) -> None:
        _check_least(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All settings of a program."""

    database_url: str = _setting(
        "DATABASE_URL", "sqlite:///milepost.db", "the job store: SQLite or PostgreSQL", secret=True
    )
    app: str | None = _setting(
        "MILEPOST_APP", None, "the application the command line works on: module:attribute"
    )
    service_type: ServiceType = _setting(
        "SERVICE_TYPE",
        "monolith",
        "what `milepost up` runs: worker, web or monolith, which is both",
    )
    largest_args: int = _setting(
        "MILEPOST_LARGEST_ARGS", 1_000_000, "the largest args of a job, in bytes", least=1
    )
    largest_checkpoint: int = _setting(
        "MILEPOST_LARGEST_CHECKPOINT", 1_000_000, "the largest checkpoint, in bytes", least=1
    )
    largest_result: int = _setting(
        "MILEPOST_LARGEST_RESULT", 1_000_000, "the largest result, in bytes", least=1
    )
    longest_queue: int = _setting(
        "MILEPOST_LONGEST_QUEUE",
        1_000_000,
        "how many jobs may wait in a queue before submit refuses more",
        least=1,
    )
    secret_key: SecretKeySettings = field(default_factory=SecretKeySettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    processes: ProcessSettings = field(default_factory=ProcessSettings)
    web: WebSettings = field(default_factory=WebSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        _check_least(self)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings. Raises SettingInvalid for the first that cannot be taken."""
        settings = cls(
            **_read(cls, environment),
            secret_key=SecretKeySettings(**_read(SecretKeySettings, environment)),
            redis=RedisSettings(**_read(RedisSettings, environment)),
            worker=WorkerSettings(**_read(WorkerSettings, environment)),
            processes=_read_processes(environment),
            web=WebSettings(**_read(WebSettings, environment)),
            notify=NotifySettings(**_read(NotifySettings, environment)),
            telemetry=TelemetrySettings(**_read(TelemetrySettings, environment)),
        )
        try:
            parse_store_url(settings.database_url)
        except DatabaseUrlInvalid as error:
            raise SettingInvalid("DATABASE_URL", error.holds, error.takes) from None
        return settings


def variables() -> list[tuple[str, str, str]]:
    """Every variable with its default and its help, for the documents and the tests."""
    return [
        (each.metadata["variable"], _spell(each.default), each.metadata["help"])
        for owner in (
            Settings,
            SecretKeySettings,
            RedisSettings,
            WorkerSettings,
            ProcessSettings,
            WebSettings,
            NotifySettings,
            TelemetrySettings,
        )
        for each in fields(owner)
        if each.metadata
    ]


def parse_duration(text: str) -> timedelta | None:
    """Read a duration such as 500ms, 30s, 5m, 2h or 7d; None where it is none, or too long."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    seconds = float(match[1]) * _UNITS[match[2] or "s"]
    return timedelta(seconds=seconds) if seconds <= LONGEST.total_seconds() else None


def _read(owner: type[Any], environment: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for each in fields(owner):
        variable = each.metadata.get("variable")
        if variable is not None and (held := environment.get(variable)):
            found[each.name] = _parse(variable, held, each.type, each.metadata["least"])
    return found


def _read_processes(environment: Mapping[str, str]) -> ProcessSettings:
    found = _read(ProcessSettings, environment)
    most = found.get("most", ProcessSettings().most)
    if found.get("least", 0) > most:
        takes = f"a whole number, at most {most}, which is MILEPOST_PROCESSES_MAX"
        raise SettingInvalid("MILEPOST_PROCESSES_MIN", str(found["least"]), takes)
    return ProcessSettings(**found)


def _parse(variable: str, held: str, kind: Any, least: Any) -> Any:
    at_least = "" if least is None else f", at least {_spell(least)}"
    value: Any
    if kind is int:
        takes = f"a whole number{at_least}"
        value = int(held) if re.fullmatch(r"-?\d{1,15}", held) else None
    elif kind is timedelta:
        takes = f"a duration such as 500ms, 30s, 5m, 2h or 7d{at_least}, at most {_spell(LONGEST)}"
        value = parse_duration(held)
    elif kind == tuple[str, ...]:
        takes = "names with commas between them"
        value = tuple(name.strip() for name in held.split(",") if name.strip()) or None
    elif get_origin(kind) is Literal:
        takes = " or ".join(get_args(kind))
        value = held if held in get_args(kind) else None
    elif kind == tuple[tuple[str, int], ...]:
        takes = "names with a whole number for each, at least 1, such as sync=2, reports=1"
        value = _parse_numbers(held)
    else:
        return held
    if value is None or (least is not None and value < least):
        raise SettingInvalid(variable, held, takes)
    return value


def _parse_numbers(held: str) -> tuple[tuple[str, int], ...] | None:
    pair = re.compile(r"\s*([^=]*[^=\s])\s*=\s*(0*[1-9]\d{0,14})\s*")
    pairs = [pair.fullmatch(each) for each in held.split(",")]
    numbers = {found[1]: int(found[2]) for found in pairs if found is not None}
    # As many names as pairs: one that comes twice says two things.
    return tuple(numbers.items()) if len(numbers) == len(pairs) else None


def _check_least(
    settings: (
        Settings
        | RedisSettings
        | WorkerSettings
        | ProcessSettings
        | WebSettings
        | NotifySettings
        | TelemetrySettings
    ),
) -> None:
    for each in fields(settings):
        least = each.metadata.get("least")
        value = getattr(settings, each.name)
        if least is not None and value < least:
            raise ValueError(f"{each.name} must be at least {_spell(least)}, not {_spell(value)}")


def _spell(value: Any) -> str:
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return next(
            f"{seconds / size:g}{unit}"
            for unit, size in reversed(_UNITS.items())
            if seconds >= size or unit == "ms"
        )
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else str(value)
