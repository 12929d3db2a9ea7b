"""OpenTelemetry: a trace from submit to handler to each page, across processes and programs."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from opentelemetry import context, trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import ProxyTracerProvider, SpanKind, Status, StatusCode

from milepost.jobs.events import AttemptFinished, AttemptStarted, Event, LeaseWasLost
from milepost.jobs.leases import ClaimedJob, Lease
from milepost.jobs.outcomes import Crashed, Failed, Misfit
from milepost.jobs.scope import scope
from milepost.jobs.tracing import Fact

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

# How long the end of a program waits for a collector that does not answer.
FLUSH_MS: Final = 3000
# Spans of attempts, which end only when their outcome stands in the store.
MOST_RUNNING: Final = 10_000


class Traces:
    """Keeps spans with the program's own tracer provider, or one made of the variables OTEL_…."""

    def __init__(self) -> None:
        if isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
            trace.set_tracer_provider(_open_provider())
        self._tracer = trace.get_tracer("milepost", version("milepost"))
        self._running: dict[Lease, trace.Span] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def submitting(self, kind: str, queue: str, count: int) -> Iterator[str | None]:
        """Let the block be the span from which submitted jobs go on; gives what travels."""
        facts = _messaging(queue, "send") | {
            "milepost.job.kind": kind, "messaging.batch.message_count": count,
        }  # fmt: skip
        with self._tracer.start_as_current_span(
            f"submit {kind}", kind=SpanKind.PRODUCER, attributes=facts
        ):
            yield _spelled(context.get_current())

    @contextlib.contextmanager
    def continued(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Go on with the trace of a request, unless something else has begun a span of it."""
        if trace.get_current_span().get_span_context().is_valid:
            yield
            return
        with _attached(extract(headers)):
            yield

    def observe(self, event: Event) -> None:
        """Begin and end the spans of attempts."""
        match event:
            case AttemptStarted():
                self._begin(event)
            case AttemptFinished():
                self._finish(event)
            case LeaseWasLost():
                self._end(event.lease, "lease lost", event.how)
            case _:
                pass

    def carried(self, job: ClaimedJob) -> str | None:
        """Spell the trace that a handler in another process goes on with."""
        span = self._running.get(job.lease)
        return job.trace if span is None else _spelled(trace.set_span_in_context(span))

    @contextlib.contextmanager
    def entered(self, job: ClaimedJob) -> Iterator[None]:
        """Let the handler in the block go on with its job's trace."""
        span = self._running.get(job.lease)
        going_on = _read(job.trace) if span is None else trace.set_span_in_context(span)
        with _attached(going_on):
            yield

    @contextlib.contextmanager
    def span(self, name: str, facts: Mapping[str, Fact]) -> Iterator["KeptSpan"]:
        """Let the block be a span of the trace that it runs in."""
        with self._tracer.start_as_current_span(name, attributes=_named(facts)) as span:
            yield KeptSpan(span)

    def close(self) -> None:
        """Send what is kept, for a moment at most; safe to call twice."""
        flush = getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is None:
            return
        # In a thread that may be left behind: it waits for a collector that does not answer.
        flushing = threading.Thread(target=flush, args=(FLUSH_MS,), daemon=True)
        flushing.start()
        flushing.join(FLUSH_MS / 1000)

    def _begin(self, event: AttemptStarted) -> None:
        facts = _messaging(event.queue, "process") | {
            "messaging.message.id": str(event.lease.job_id),
            "milepost.job.id": event.lease.job_id,
            "milepost.job.kind": event.kind,
            "milepost.attempt": event.lease.attempt,
            "milepost.pool": event.pool,
            "milepost.waited_seconds": event.waited_for.total_seconds(),
        }
        worker = scope().worker
        if worker is not None:
            facts["milepost.worker"] = worker
        span = self._tracer.start_span(
            f"run {event.kind}", context=_read(event.trace), kind=SpanKind.CONSUMER,
            attributes=facts,
        )  # fmt: skip
        with self._lock:
            if len(self._running) < MOST_RUNNING:
                self._running[event.lease] = span

    def _finish(self, event: AttemptFinished) -> None:
        match event.outcome:
            case Failed(error=error) | Crashed(error=error) | Misfit(error=error):
                why: str | None = error
            case _:
                why = None
        self._end(event.lease, type(event.outcome).__name__.lower(), why, state=event.state)

    def _end(self, lease: Lease, outcome: str, why: str | None, *, state: str = "") -> None:
        with self._lock:
            span = self._running.pop(lease, None)
        if span is None:
            return
        span.set_attribute("milepost.outcome", outcome)
        if state:
            span.set_attribute("milepost.job.state", state)
        if why is not None:
            span.set_status(Status(StatusCode.ERROR, why.partition("\n")[0][:500]))
        span.end()


class KeptSpan:
    """A span of ours, in the words of the port."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, **facts: Fact) -> None:
        """Add what became known meanwhile."""
        self._span.set_attributes(_named(facts))


def _open_provider() -> "TracerProvider":
    """Make a provider as the standard environment variables say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = OTELResourceDetector().detect().attributes.get("service.name")
    ours = Resource.create() if named else Resource.create({"service.name": "milepost"})
    # Closing sends what is left; the end of the program waits for nobody.
    provider = TracerProvider(resource=ours, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _messaging(queue: str, operation: str) -> dict[str, Fact]:
    """The words of OpenTelemetry's conventions for messages."""
    return {
        "messaging.system": "milepost",
        "messaging.destination.name": queue,
        "messaging.operation.type": operation,
    }


def _named(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {name if "." in name else f"milepost.{name}": fact for name, fact in facts.items()}


def _spelled(of: "Context") -> str | None:
    headers: dict[str, str] = {}
    inject(headers, of)
    return json.dumps(headers, separators=(",", ":")) if headers else None


def _read(told: str | None) -> "Context":
    """The context that travelled; an empty one where that is none: any program may have sent it."""
    headers: dict[str, str] = {}
    if told is not None:
        with contextlib.suppress(ValueError):
            found = json.loads(told)
            if isinstance(found, dict):
                headers = {str(name): value for name, value in found.items()
                           if isinstance(value, str)}  # fmt: skip
    return extract(headers, context=context.Context())


@contextlib.contextmanager
def _attached(going_on: "Context") -> Iterator[None]:
    before = context.attach(going_on)
    try:
        yield
    finally:
        context.detach(before)
