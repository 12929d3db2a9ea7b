"""A line on BullMQ, and the same queue as BullMQ's own client sees it."""

from collections.abc import Sequence
from typing import Any

from bullmq import Job, Queue

from milepost import JobDefinition
from milepost.brokers.bullmq import BullmqBroker
from milepost.jobs.leases import ClaimedJob
from milepost.jobs.registry import Registry
from milepost.redis import Link
from milepost.signals import RedisSignals
from tests.brokers.contract import Line
from tests.store.store import KIND, Store


def definition(kind: str, **options: Any) -> JobDefinition[dict[str, int], None, int]:
    def work(ctx: object, args: dict[str, int]) -> int:
        raise NotImplementedError

    return JobDefinition(
        kind, args=dict[str, int], checkpoint=type(None), result=int, handler=work, **options
    )


class BullmqLine(Line):
    """Brokers for as many workers as a test asks for, and BullMQ's own view of the queue."""

    def __init__(self, store: Store, link: Link) -> None:
        self.link = link
        self.signals = RedisSignals(store.database, link)
        self.queues: dict[str, Queue] = {}
        super().__init__(store, self._open)

    def _open(self, worker: str, kinds: Sequence[str]) -> BullmqBroker:
        registry = Registry([definition(kind) for kind in kinds])
        return BullmqBroker(
            self.link, self.store.database, self.signals, registry,
            worker_id=worker, largest_args=1000,
        )  # fmt: skip

    def queue(self, name: str = "default") -> Queue:
        """The queue, as any program with BullMQ opens it."""
        if name not in self.queues:
            settings = self.link.settings
            self.queues[name] = Queue(name, {"connection": settings.url, "prefix": settings.prefix})
        return self.queues[name]

    async def entry(self, job_id: int | str, *, queue: str = "default") -> Job | None:
        """An entry as BullMQ shows it."""
        name = job_id if isinstance(job_id, str) else f"m{job_id}"
        return await Job.fromId(self.queue(queue), name)

    async def shown(self, job_id: int | str) -> tuple[str, Job]:
        """An entry's state in BullMQ, and the entry."""
        entry = await self.entry(job_id)
        assert entry is not None, f"BullMQ has no entry of job {job_id}"
        return await entry.getState(), entry

    async def add(self, data: Any, *, kind: str = KIND, **options: Any) -> str:
        """Add a job straight to BullMQ, as another program does; returns its id there."""
        job = await self.queue().add(kind, data, options)
        return str(job.id)

    async def receive_one(self, **options: Any) -> ClaimedJob:
        [job] = await self.receive(1, **options)
        return job

    def redis(self, *command: Any) -> Any:
        return self.link.call(*command)

    async def aclose(self) -> None:
        await super().aclose()
        for queue in self.queues.values():
            await queue.close()
        self.signals.close()
