"""The composition root: definitions, settings and services in, running parts out."""

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

from sqlalchemy import Connection

from milepost.brokers import Broker, announce, ensure_fit, open_broker
from milepost.checks import CHECKS
from milepost.connections import Connections, Keyring, StoredTokens
from milepost.connectors import Secrets
from milepost.downloads import Downloaded, Snapshots, Sources, download_records, open_budgets
from milepost.errors import ConfigurationError
from milepost.handles import JobHandle
from milepost.jobs.definition import JobDefinition
from milepost.jobs.events import JobsSubmitted, Observer
from milepost.jobs.leases import JobId
from milepost.jobs.names import check_queue
from milepost.jobs.observers import Observers
from milepost.jobs.registry import AnyDefinition, Registry
from milepost.jobs.requests import JobRequest, SubmitOptions, request
from milepost.lookout import Lookout
from milepost.notifiers import Notifier, Routes
from milepost.outbox import Outbox
from milepost.pools import Equipment
from milepost.redis import Link
from milepost.schedules import Schedules
from milepost.services import svcs
from milepost.settings import Settings
from milepost.signals import Signal, Topic, open_signals
from milepost.store import jobs, schema, submitting
from milepost.store.clock import Clock
from milepost.store.database import Database, open_database
from milepost.store.flows import Moved
from milepost.store.lengths import Lengths
from milepost.telemetry import equip, log_event, open_metrics, open_tracing
from milepost.worker import Beside, Worker

if TYPE_CHECKING:
    from milepost.telemetry.metrics import Metrics
    from milepost.telemetry.traces import Traces
NOTIFY_EVERY: Final = timedelta(seconds=1)
TIDY_EVERY: Final = timedelta(hours=1)

# What every worker can run besides its own definitions.
BUILT_IN: Final = (download_records, *CHECKS)

A = TypeVar("A")
C = TypeVar("C")
R = TypeVar("R")


def complete_services(given: svcs.Registry | None) -> svcs.Registry:
    """Add to a user's services what our own definitions ask for; child processes do the same."""
    # A registry that is still empty counts as false.
    services = svcs.Registry() if given is None else given
    if Secrets not in services:
        services.register_factory(Secrets, lambda: Secrets(os.environ))
    if Sources not in services:
        services.register_factory(
            Sources, lambda svcs_container: Sources(svcs_container.get(Secrets))
        )
    return services


class Milepost:
    """One application: its definitions, its store, its services.

    Nothing is opened before it is used. `async with` closes it at the end.
    """

    def __init__(
        self,
        definitions: Iterable[AnyDefinition] = (),
        *,
        settings: Settings | None = None,
        services: svcs.Registry | None = None,
        observers: Sequence[Observer] = (log_event,),
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings or Settings.from_environment(os.environ)
        self.registry = Registry([*definitions, *BUILT_IN])
        self.services = complete_services(services)
        self.database = open_database(self.settings.database_url, clock=clock)
        self.observers = Observers(observers)
        self.database.observe = self.observers
        given = self.settings.redis.given
        self.link = Link(self.settings.redis, observe=self.observers) if given else None
        self._tracing = self._open_tracing()
        self.keyring = Keyring(self.settings.secret_key, self.database)
        self.connections = Connections(self.database, self.keyring)
        self.snapshots = Snapshots(self.database)
        self.routes = Routes(self.database, self.keyring)
        self._budgets = open_budgets(self.database, self.link)
        self._tokens = StoredTokens(self.database, self.keyring)
        self.services.register_factory(Sources, self._sources)
        self.signals = open_signals(self.database, self.link)
        self.broker = self._open_broker("", self.database)
        self._lengths = Lengths(most=self.settings.longest_queue)
        self._outbox = Outbox(self.database, self.broker)
        self.schedules = Schedules(
            self.database, self.signals, self.broker, self.registry,
            largest_args=self.settings.largest_args,
        )  # fmt: skip
        self._lookout = Lookout(self.database, self.signals)
        self._ready = False
        self._closed = False

    async def submit(
        self, definition: JobDefinition[A, C, R], args: A, **options: Unpack[SubmitOptions]
    ) -> JobHandle[R]:
        """Store a job, and return when that is committed: from then on it is never lost.

        Raises PayloadInvalid, PayloadTooLarge or QueueFull; then nothing is stored.
        """
        [handle] = await self.submit_many(definition, [args], **options)
        return handle

    async def submit_many(
        self,
        definition: JobDefinition[A, C, R],
        args: Sequence[A],
        **options: Unpack[SubmitOptions],
    ) -> list[JobHandle[R]]:
        """Store one job for each of the args, all or none, in one transaction; in order."""
        requests = [self._request(definition, each, options) for each in args]
        submitted = await self._store(requests)
        return [self._handle(each.job_id, definition, existed=each.existed) for each in submitted]

    async def sync(
        self,
        snapshot: str,
        *,
        tables: Sequence[str] = (),
        anew: bool = False,
        allow_mass_deletion: bool = False,
    ) -> dict[str, JobHandle[Downloaded]]:
        """Submit the jobs that sync a snapshot, one for each table; returns them by table.

        Where a table's job has not ended yet, that one is returned. `tables`: only these. `anew`:
        read all of a source that could give what is new. Raises ConfigurationError for what is not
        there, or a ConnectorError where the source does not say which tables it has.
        """
        await self.ready()
        named = await self.snapshots.find(snapshot)
        async with svcs.Container(self.services) as container:
            wanted = await named.tables(await container.aget(Sources), only=tables)
        return {
            table: await self.submit(
                download_records,
                named.args(table, anew=anew, allow_mass_deletion=allow_mass_deletion),
                unique_key=named.unique_key(table),
                tags=[f"snapshot:{snapshot}"],
            )
            for table in wanted
        }

    def submit_in(
        self,
        conn: Connection,
        definition: JobDefinition[A, C, R],
        args: A,
        **options: Unpack[SubmitOptions],
    ) -> JobHandle[R]:
        """Store a job in the caller's own transaction: it exists if and only if that commits.

        From async SQLAlchemy: `await session.run_sync(lambda s: submit_in(s.connection(), …))`.
        The connection must be to the database of the store.
        """
        requests = [self._request(definition, args, options)]
        with self._traced(requests) as traced:
            [submitted] = self._submit(conn, traced)
        if self.link is not None:
            self._outbox.send_after(conn, [submitted.job_id])
        if not submitted.existed:
            [asked] = requests
            told = JobsSubmitted(asked.kind, asked.queue, 1)
            self.database.after_commit(conn, lambda: self.observers(told))
        return self._handle(submitted.job_id, definition, existed=submitted.existed)

    async def submit_json(
        self, kind: str, args: str, **options: Unpack[SubmitOptions]
    ) -> JobHandle[Any]:
        """Store a job of a kind, with args as JSON. Raises UnknownKind or PayloadInvalid."""
        definition = self.registry[kind]
        [submitted] = await self._store(
            [
                request(
                    definition, definition.args.parse(args), options,
                    largest=self.settings.largest_args,
                )
            ]
        )  # fmt: skip
        return self._handle(submitted.job_id, definition, existed=submitted.existed)

    def handle(
        self, job_id: JobId, definition: JobDefinition[Any, Any, R] | None = None
    ) -> JobHandle[R]:
        """Take hold of a job; its definition gives the result its type."""
        return self._handle(job_id, definition)

    def worker(self, settings: Settings | None = None) -> Worker:
        """Make a worker for all definitions; `async with` it, or start and stop it.

        Raises ConfigurationError where its settings name a queue that cannot be one.
        """
        settings = settings or self.settings
        try:
            for queue in settings.worker.queues:
                check_queue(queue)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

        def beside(database: Database) -> Beside:
            notifier = Notifier(database, self.keyring, settings=settings.notify)
            return {"notify": (notifier.tick, NOTIFY_EVERY), "tidy": (notifier.tidy, TIDY_EVERY)}

        return Worker(
            settings,
            self.database,
            self._open_fit_broker,
            self.registry,
            self.signals,
            services=self.services,
            complete_services=complete_services,
            observe=self.observers,
            tracing=self._tracing,
            equipment=Equipment(equip, self.settings.telemetry),
            beside=beside,
        )

    def _sources(self, svcs_container: svcs.Container) -> Sources:
        return Sources(
            svcs_container.get(Secrets),
            budgets=self._budgets,
            # Nobody stores a token in plain.
            tokens=self._tokens if self.keyring.given else None,
            connections=self.connections,
            observe=self.observers,
        )

    def _open_tracing(self) -> "Traces | None":
        tracing = open_tracing(self.settings.telemetry)
        if tracing is not None:
            self.observers.add(tracing.observe)
        return tracing

    @cached_property
    def metrics(self) -> "Metrics":
        """What Prometheus reads, counted from the first use of this on.

        Raises ConfigurationError where the extra `telemetry` is not installed.
        """
        metrics = open_metrics(
            self.registry, self.database, self.link,
            served=self.settings.worker.queues,
            most_queues=self.settings.telemetry.metrics_queues,
        )  # fmt: skip
        self.observers.add(metrics.observe)
        return metrics

    def continued(self, headers: Mapping[str, str]) -> AbstractContextManager[object]:
        """Let what is submitted in the block go on with the trace of a request's headers."""
        return self._tracing.continued(headers) if self._tracing else nullcontext()

    def _open_broker(
        self, worker_id: str, database: Database, renewing: Database | None = None
    ) -> Broker:
        return open_broker(
            self.link, database, self.signals, self.registry,
            worker_id=worker_id, largest_args=self.settings.largest_args, renewing=renewing,
        )  # fmt: skip

    async def _open_fit_broker(
        self, worker_id: str, database: Database, renewing: Database
    ) -> Broker:
        if self.link is not None:
            await ensure_fit(self.link, database, to_work=True)
        return self._open_broker(worker_id, database, renewing)

    async def ready(self) -> None:
        """See to it that the store has its tables, and that Redis is this store's.

        Raises StoreOutdated or RedisUnfit.
        """
        if not self._ready:
            await self.database.on_thread(lambda: schema.ensure(self.database))
            if self.link is not None:
                await ensure_fit(self.link, self.database, to_work=False)
            self._ready = True

    async def aclose(self) -> None:
        """Close the connections; safe to call twice."""
        await asyncio.to_thread(self._outbox.close)
        await asyncio.to_thread(self._lookout.close)
        await asyncio.to_thread(self.signals.close)
        if not self._closed:
            self._closed = True
            await self.broker.aclose()
        if self.link is not None:
            self.link.close()
        await asyncio.to_thread(self.database.close)
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)

    def _request(
        self, definition: JobDefinition[A, C, R], args: A, options: SubmitOptions
    ) -> JobRequest:
        return request(
            definition, definition.args.dump(args), options, largest=self.settings.largest_args
        )

    async def _store(self, requests: Sequence[JobRequest]) -> list[jobs.Submitted]:
        await self.ready()
        with self._traced(requests) as traced:
            submitted = await self.database.run(self._submit, traced)
            new = [each.job_id for each in submitted if not each.existed]
            await self.broker.send(new)
        if requests:
            kind, queue = requests[0].kind, requests[0].queue
            self.observers(JobsSubmitted(kind, queue, len(new)))
        return submitted

    @contextmanager
    def _traced(self, requests: Sequence[JobRequest]) -> Iterator[Sequence[JobRequest]]:
        """Let submitting requests of one kind be a span, from which their jobs go on."""
        if self._tracing is None or not requests:
            yield requests
            return
        first = requests[0]
        with self._tracing.submitting(first.kind, first.queue, len(requests)) as trace:
            yield [replace(each, trace=trace) for each in requests]

    def _submit(self, conn: Connection, requests: Sequence[JobRequest]) -> list[jobs.Submitted]:
        # What has a time, or others to wait for, does not wait yet.
        waiting = [each.queue for each in requests if not (each.delay or each.run_at or each.after)]
        self._lengths.check(conn, self.database.clock, waiting)
        moved = Moved()
        submitted = submitting.submit(conn, self.database.clock, requests, moved=moved)
        there = [r.queue for r, s in zip(requests, submitted, strict=True) if s.existed]
        self._lengths.take_back(there)
        for queue in {each.queue for each in requests}:
            self.signals.announce(conn, Signal(Topic.AVAILABLE, queue))
        if any(each.delay or each.run_at for each in requests):
            self.signals.announce(conn, Signal(Topic.SCHEDULED))
        announce(conn, self.signals, moved)
        return submitted

    def _handle(
        self,
        job_id: JobId,
        definition: JobDefinition[Any, Any, R] | None,
        *,
        existed: bool = False,
    ) -> JobHandle[R]:
        return JobHandle(
            job_id, self.database, self.signals, self.broker, self._lookout,
            definition=definition, existed=existed,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        try:
            await self.ready()
        except BaseException:
            # Nobody is to close what was never entered.
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        await self.aclose()
