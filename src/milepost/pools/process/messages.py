"""What a worker and its child processes say to each other: JSON, with its length before it.

Nothing is pickled, and a message that is none ends the child, not the worker.
"""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Discriminator, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from milepost.jobs.leases import ClaimedJob, Lease
from milepost.jobs.outcomes import Outcome
from milepost.jobs.progress import Progress
from milepost.jobs.scope import Scope
from milepost.pools.process.origins import Origin
from milepost.settings import TelemetrySettings
from milepost.store.logs import LogLine

_LENGTH: Final = struct.Struct("!I")
LONGEST: Final = 256_000_000


@dataclass(frozen=True, slots=True)
class Setup:
    """The first thing that a child is told; its loggers have the levels of the worker's.

    `equip` names what sets up its log and its traces, by `telemetry`.
    """

    origin: Origin
    database_url: str
    store_id: str
    largest_checkpoint: int
    largest_result: int
    largest_args: int
    log_levels: dict[str, int]
    worker_id: str | None = None
    equip: str | None = None
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    type: Literal["setup"] = "setup"


@dataclass(frozen=True, slots=True)
class Run:
    """Run an attempt."""

    job: ClaimedJob
    type: Literal["run"] = "run"


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell an attempt's token; `why` names the AttemptStopped."""

    lease: Lease
    why: str
    reason: str
    type: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class Force:
    """Stop an attempt by force: cancel its task, as asyncio does, or interrupt its main thread."""

    lease: Lease
    how: Literal["cancel", "interrupt"]
    type: Literal["force"] = "force"


@dataclass(frozen=True, slots=True)
class End:
    """Clean up and go."""

    type: Literal["end"] = "end"


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has imported the application and takes attempts."""

    type: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Broken:
    """The child cannot import the application."""

    error: str
    type: Literal["broken"] = "broken"


@dataclass(frozen=True, slots=True)
class Logged:
    """A record of the program's own log, what it belongs to, and what structlog says with it."""

    name: str
    level: int
    text: str
    created: float
    scope: Scope
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Noted:
    """What has been noted since the last time; `heard`: the attempt saved or reported."""

    lease: Lease | None
    heard: bool = False
    progress: Progress | None = None
    checkpoint: str | None = None
    lines: Sequence[LogLine] = ()
    logged: Sequence[Logged] = ()
    type: Literal["noted"] = "noted"


@dataclass(frozen=True, slots=True)
class Done:
    """An attempt has ended; no outcome: its lease is lost. `spent`: take another process next."""

    lease: Lease
    outcome: str | None
    fields: dict[str, Any] = field(default_factory=dict)
    spent: bool = False
    type: Literal["done"] = "done"

    @classmethod
    def of(cls, lease: Lease, outcome: Outcome | None, *, spent: bool) -> "Done":
        """Spell an outcome."""
        if outcome is None:
            return cls(lease, None, spent=spent)
        name = type(outcome).__name__
        return cls(lease, name, _outcomes[name].dump_python(outcome, mode="json"), spent)

    def read(self) -> Outcome | None:
        """The outcome. Raises ValueError where it is none."""
        if self.outcome is None:
            return None
        if self.outcome not in _outcomes:
            raise ValueError(f"no outcome is named {self.outcome!r}")
        try:
            read: Outcome = _outcomes[self.outcome].validate_python(self.fields)
        except ValidationError as error:
            raise ValueError(_in_one_line(error)) from None
        return read


ToChild = Setup | Run | Stop | Force | End
FromChild = Ready | Broken | Noted | Done

_outcomes: Final[dict[str, TypeAdapter[Any]]] = {
    each.__name__: TypeAdapter(each) for each in get_args(Outcome)
}
_to_child: Final[TypeAdapter[ToChild]] = TypeAdapter(Annotated[ToChild, Discriminator("type")])
_from_child: Final[TypeAdapter[FromChild]] = TypeAdapter(
    Annotated[FromChild, Discriminator("type")]
)


def pack(message: ToChild | FromChild) -> bytes:
    """Spell a message with its length."""
    adapter: TypeAdapter[Any] = _to_child if isinstance(message, ToChild) else _from_child
    try:
        body = adapter.dump_json(message)
    except PydanticSerializationError:
        # Half a surrogate pair, in a file's name or an error's text, is no reason to say nothing.
        plain = adapter.dump_python(message, mode="json")
        body = json.dumps(plain, ensure_ascii=False).encode(errors="replace")
    return _LENGTH.pack(len(body)) + body


async def read_from_child(reader: asyncio.StreamReader) -> FromChild | None:
    """Read one message; None: there will be no more. Raises ValueError where it is none."""
    try:
        [length] = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > LONGEST:
            raise ValueError(f"{length:,} bytes are no message")
        return _from_child.validate_json(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except ValidationError as error:
        raise ValueError(_in_one_line(error)) from None


def _in_one_line(error: ValidationError) -> str:
    # Its own text takes a line for each fault, and repeats what was sent.
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{first['msg']} ({where})" if where else first["msg"]


class Channel:
    """The child's end: blocking, for several threads that send and one that receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._incoming = connection.makefile("rb")
        self._sending = threading.Lock()

    def send(self, message: FromChild) -> None:
        """Send one message, whole. Raises OSError where nobody receives any more."""
        packed = pack(message)
        with self._sending:
            self._connection.sendall(packed)

    def receive(self) -> ToChild | None:
        """Wait for one message; None: the worker is gone."""
        head = self._incoming.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return None
        [length] = _LENGTH.unpack(head)
        body = self._incoming.read(length)
        return _to_child.validate_json(body) if len(body) == length else None
