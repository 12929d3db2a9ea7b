"""The worker: receive, claim, run, settle."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from milepost.brokers import Broker
from milepost.jobs.events import (
    Event,
    Observer,
    TickFailed,
    WorkerStarted,
    WorkerStopped,
    WorkerStopping,
)
from milepost.jobs.leases import ClaimedJob
from milepost.jobs.registry import Registry
from milepost.jobs.scope import Scope, scope, within
from milepost.jobs.tracing import Tracing
from milepost.pools import CompleteServices, Equipment, Notes, Surroundings
from milepost.services import svcs
from milepost.settings import Settings
from milepost.signals import Signal, Signals, Topic
from milepost.store import reading, workers
from milepost.store.database import Database
from milepost.worker.board import HESITATE_FOR, Board
from milepost.worker.cancels import CancelWatch
from milepost.worker.dispatcher import Dispatcher
from milepost.worker.enforcer import Enforcer
from milepost.worker.fires import LOOK_EVERY, Fires, declare_all
from milepost.worker.flows import Flows
from milepost.worker.identity import new_worker
from milepost.worker.leases import LeaseKeeper
from milepost.worker.misfits import Misfits
from milepost.worker.pauses import Pauses
from milepost.worker.pruner import Pruner
from milepost.worker.quotas import Quotas
from milepost.worker.reporter import Reporter
from milepost.worker.rescuer import Rescuer
from milepost.worker.role import Role
from milepost.worker.runner import Runner
from milepost.worker.sampler import Sampler
from milepost.worker.scheduler import Scheduler
from milepost.worker.settler import Settler
from milepost.worker.stopping import WindDown
from milepost.worker.watcher import Watcher

OpenBroker = Callable[[str, Database, Database], Awaitable[Broker]]
"""Opens the broker for a worker of that id; raises ConfigurationError if it is unfit.

The databases are the store twice: for everything, and for nothing but renewals.
"""
Beside = Mapping[str, tuple[Callable[[], Awaitable[None]], timedelta]]
"""What else a worker does, by its names, and how often."""

REPORT_EVERY: Final = timedelta(milliseconds=250)
ENFORCE_EVERY: Final = timedelta(milliseconds=100)
SCHEDULE_EVERY: Final = timedelta(milliseconds=500)
SETTLE_AGAIN_AFTER: Final = timedelta(seconds=1)
SETTLE_WITHIN: Final = timedelta(seconds=3)
PRUNE_EVERY: Final = timedelta(minutes=1)
DISPATCH_EVERY: Final = timedelta(seconds=1)
WATCH_EVERY: Final = timedelta(seconds=15)
# Several times in each minute that it counts.
SAMPLE_EVERY: Final = timedelta(seconds=20)


class Worker:
    """Takes jobs and runs them until it is told to stop.

    Its own loop never runs a handler: claiming, renewing, cancelling and settling go on
    whatever handlers do. `async with worker:` starts and stops it.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        open_broker: OpenBroker,
        registry: Registry,
        signals: Signals,
        *,
        services: svcs.Registry,
        complete_services: CompleteServices,
        observe: Observer,
        tracing: Tracing | None = None,
        equipment: Equipment | None = None,
        beside: Callable[[Database], Beside] = lambda _: {},
    ) -> None:
        self._settings = settings
        self._own = settings.worker
        self._callers_database = database
        self._registry = registry
        self._signals = signals
        self._services = services
        self._complete_services = complete_services
        self._tell = observe
        self._tracing = tracing
        self._equipment = equipment
        self._beside = beside
        self._queues = list(self._own.queues or registry.queues)
        self.record = new_worker(
            queues=tuple(self._queues), kinds=registry.kinds, concurrency=self._own.concurrency
        )
        self._scope = Scope(worker=self.record.id)
        self._open_broker = open_broker
        self._board = Board(self._own.concurrency)
        # Queues that may have something available, and when to ask all of them again.
        self._promising: set[str] = set()
        self._poll_at = 0.0
        self._room = asyncio.Event()
        self._room.set()
        self._roles: dict[str, Role] = {}
        self._wind_down: WindDown | None = None
        self._stopped = asyncio.Event()

    @property
    def id(self) -> str:
        """The name of this run of the worker; never used again."""
        return self.record.id

    async def start(self) -> None:
        """Register, and return when jobs are being taken."""
        self._loop = asyncio.get_running_loop()
        # Nothing that callers ask or handlers write takes our connections, and nothing at all
        # that of the renewals.
        callers, lease_for = self._callers_database, self._own.lease_for
        self._handlers_database = callers.sibling(patient=True)
        self._database = database = callers.sibling(answer_within=lease_for)
        self._renewing = callers.sibling(threads=1, answer_within=lease_for / 3)
        notes = Notes()
        opened = contextlib.AsyncExitStack()
        for each in (database, self._renewing, self._handlers_database):
            opened.callback(each.close)
        try:
            self._broker = await self._open_broker(self.record.id, database, self._renewing)
            opened.push_async_callback(self._broker.aclose)
            surroundings = Surroundings(
                database=self._handlers_database,
                store_id=await database.query(reading.store_id),
                services=self._services,
                notes=notes,
                largest_checkpoint=self._settings.largest_checkpoint,
                largest_result=self._settings.largest_result,
                largest_args=self._settings.largest_args,
                worker_id=self.id,
                tracing=self._tracing,
                equipment=self._equipment,
            )
            self._runner = Runner(
                self._board, self._registry, surroundings,
                processes=self._settings.processes, complete_services=self._complete_services,
                on_ended=self._on_ended, observe=self._observe,
            )  # fmt: skip
            opened.callback(self._runner.close)
            await database.run(workers.register, database.clock, self.record)
            await database.run(declare_all, database.clock, self._registry)
        except BaseException:
            # A worker that may not start leaves nothing open, and no record of itself.
            await opened.aclose()
            raise
        self._runner.start()
        self._quotas = Quotas(
            self._board, self._registry, self._runner.pool_for,
            queue_concurrency=self._own.queue_concurrency, blocked_after=self._own.blocked_after,
        )  # fmt: skip
        self._pauses = Pauses(self._quotas, database)
        await self._pauses.tick()
        self._assemble(notes)
        self._unsubscribe = self._signals.subscribe(self._hear)
        # Tasks inherit it: what they log is their worker's.
        with within(self._scope):
            for role in self._roles.values():
                role.start()
            self._listening = asyncio.create_task(self._listen(), name="milepost-listen")
        self._observe(
            WorkerStarted(self.id, tuple(self._queues), self._registry.kinds, self._own.concurrency)
        )

    def _assemble(self, notes: Notes) -> None:
        own, board, database, observe = self._own, self._board, self._database, self._observe
        keeper = LeaseKeeper(
            board, self._broker, self._renewing,
            worker_id=self.id, lease_for=own.lease_for, observe=observe,
        )  # fmt: skip
        reporter = Reporter(notes, board, keeper, database, self._signals, self._broker)
        enforcer = Enforcer(
            board, self._runner, keeper,
            cancel_grace=own.cancel_grace, blocked_after=own.blocked_after, observe=observe,
        )  # fmt: skip
        rescuer = Rescuer(
            board, database, self._signals, self._broker,
            lease_for=own.lease_for, most_rescues=own.most_rescues, observe=observe,
        )  # fmt: skip
        pruner = Pruner(database, self._registry, own)
        settler = Settler(
            board, self._broker, reporter, Misfits(database, leave_for=own.misfits_for),
            most_rescues=own.most_rescues, on_settled=self._wake_take, observe=observe,
        )  # fmt: skip
        scheduler = Scheduler(database, self._signals, self._broker)
        fires = Fires(
            database, self._signals, self._broker, self._registry,
            wake_in=self._wake_fire_in, observe=observe,
        )  # fmt: skip
        dispatcher = Dispatcher(self._broker)
        cancels = CancelWatch(board, keeper, database)
        third = own.lease_for / 3
        self._role("renew", keeper.tick, third)
        self._role("rescue", rescuer.tick, third)
        self._role("enforce", enforcer.tick, ENFORCE_EVERY)
        self._role("cancel", cancels.tick, own.poll_every)
        self._role("report", reporter.tick, REPORT_EVERY)
        self._role("schedule", scheduler.tick, SCHEDULE_EVERY)
        self._role("fire", fires.tick, LOOK_EVERY)
        self._role("flows", Flows(database, self._signals, self._broker).tick, SCHEDULE_EVERY)
        self._role("prune", pruner.tick, PRUNE_EVERY)
        self._role("sample", Sampler(database).tick, SAMPLE_EVERY)
        self._role("dispatch", dispatcher.tick, DISPATCH_EVERY)
        self._role("settle", settler.tick, SETTLE_AGAIN_AFTER)
        self._role("pauses", self._pauses.tick, own.poll_every)
        watcher = Watcher(database, late_after=self._settings.notify.late_after)
        self._role("watch", watcher.tick, WATCH_EVERY)
        for name, (tick, every) in self._beside(database).items():
            self._role(name, tick, every)
        self._role("take", self._take, own.poll_every)
        self._wind_down = WindDown(board, self._runner, enforcer, grace=own.stop_grace)

    def _role(self, name: str, tick: Callable[[], Awaitable[None]], every: timedelta) -> None:
        self._roles[name] = Role(name, tick, every=every, observe=self._observe)

    async def stop(self) -> None:
        """Take no more jobs, let the running ones save and go; returns when all is settled.

        They go back to available at no cost. Called again meanwhile, it waits for nobody.
        """
        if self._wind_down is None or self._stopped.is_set():
            return
        if self._runner.stopping:
            self._observe(WorkerStopping(self.id, len(self._board.running), forced=True))
            self._wind_down.hurry()
            await self._stopped.wait()
            return
        self._observe(WorkerStopping(self.id, len(self._board.running), forced=False))
        self._runner.stopping = True
        self._listening.cancel()
        # Hardly longer than a lease: by then others have what is not settled, or was just claimed.
        patience = max(self._own.lease_for, SETTLE_WITHIN).total_seconds()
        last_take = asyncio.create_task(self._roles["take"].stop(within=patience))
        await self._wind_down.run()
        await last_take
        await self._wind_down.run()  # what the last take still brought
        give_up_at = time.monotonic() + patience
        await self._settle_the_rest(give_up_at)
        self._unsubscribe()
        left = max(1, give_up_at - time.monotonic())
        await asyncio.gather(*(role.stop(within=left) for role in self._roles.values()))
        await asyncio.wait([self._listening])
        try:
            await self._database.run(workers.stopped, self._database.clock, [self.id])
        except Exception as error:  # noqa: BLE001 (a store that is away must not keep us here)
            self._observe(TickFailed("stop", error))
        await asyncio.to_thread(self._runner.close)
        await self._broker.aclose()
        self._database.close(wait=False)
        self._renewing.close(wait=False)
        # A write that hangs is left behind too: its transaction cannot commit past the fence.
        self._handlers_database.close(wait=False)
        self._observe(WorkerStopped(self.id))
        self._stopped.set()

    async def _settle_the_rest(self, give_up_at: float) -> None:
        while not self._board.idle() and time.monotonic() < give_up_at:
            self._roles["settle"].wake()
            await asyncio.sleep(0.01)

    async def _take(self) -> None:
        """Fill the free slots, one queue after the other, so that none starves.

        A queue that had nothing left is not asked again before a signal tells of it, or the
        poll comes round; one that had more than there was room for is, as soon as there is.
        """
        if time.monotonic() >= self._poll_at:
            self._poll_at = time.monotonic() + self._own.poll_every.total_seconds()
            self._promising.update(self._queues)
        self._promising.update(self._quotas.freed())
        while not self._runner.stopping and self._promising and self._board.worth_asking():
            queue = next(queue for queue in self._queues if queue in self._promising)
            self._queues.remove(queue)
            self._queues.append(queue)
            # Before asking: a signal that comes meanwhile must not be forgotten after it.
            self._promising.discard(queue)
            quota = self._quotas.of(queue)
            jobs: Sequence[ClaimedJob] = ()
            if quota.limit > 0:
                jobs = await self._broker.receive(
                    queue, limit=quota.limit, lease_for=self._own.lease_for, without=quota.without
                )
            fitting, too_many = self._quotas.admit(queue, quota, jobs)
            self._runner.begin(fitting)
            self._runner.give_back(too_many)
            if self._quotas.note(queue, quota, len(jobs)):
                self._promising.add(queue)
        if self._promising and self._wants_jobs():
            # Not worth asking yet: ask when it is, whatever ends until then.
            self._loop.call_later(HESITATE_FOR, self._roles["take"].wake)

    async def _listen(self) -> None:
        """Learn from the broker which queues may have something, while there is room for it."""
        while True:
            await self._room.wait()
            if not self._wants_jobs():
                self._room.clear()
                continue
            try:
                told = await self._broker.wait(
                    list(self._queues), timeout=self._own.poll_every, wanted=self._wants_jobs_of
                )
            except Exception as error:  # noqa: BLE001 (as a role: the poll goes on without it)
                self._observe(TickFailed("listen", error))
                await asyncio.sleep(self._own.poll_every.total_seconds())
                continue
            if told:
                self._promising.update(told)
                self._wake_take()

    def _wants_jobs(self) -> bool:
        return not self._runner.stopping and self._board.free() > 0

    def _wants_jobs_of(self, queue: str) -> bool:
        return self._wants_jobs() and not self._quotas.is_full(queue)

    def _on_ended(self) -> None:
        self._roles["settle"].wake()
        self._wake_take()

    def _wake_fire_in(self, seconds: float) -> None:
        self._loop.call_later(seconds, self._roles["fire"].wake)

    def _wake_take(self) -> None:
        self._roles["take"].wake()
        self._room.set()

    def _hear(self, signal: Signal) -> None:
        self._loop.call_soon_threadsafe(self._heed, signal)

    def _heed(self, signal: Signal) -> None:
        match signal.topic:
            case Topic.SCHEDULED:
                self._roles["schedule"].wake()
                self._roles["fire"].wake()
            case Topic.STOPPING:
                self._roles["flows"].wake()
            case Topic.CANCEL:
                if any(lease.job_id in signal.job_ids for lease in self._board.running):
                    self._roles["cancel"].wake()
            case Topic.ANYTHING:
                for name in ("schedule", "cancel"):
                    self._roles[name].wake()
            case Topic.AVAILABLE | Topic.PROGRESS | Topic.SETTLED:
                pass

    def _observe(self, event: Event) -> None:
        # What its roles tell comes from within it.
        if scope() is self._scope:
            self._tell(event)
            return
        with within(self._scope):
            self._tell(event)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        await self.stop()
