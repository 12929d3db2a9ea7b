"""Who a worker is, and whether another one on this machine is dead."""

import os
import secrets
import socket
import uuid
from functools import cache
from importlib.metadata import version
from pathlib import Path

from milepost.store.workers import WorkerRecord


def new_worker(
    *, queues: tuple[str, ...], kinds: tuple[str, ...], concurrency: int
) -> WorkerRecord:
    """Describe a worker that starts in this process, under a name never used before."""
    host = socket.gethostname()
    return WorkerRecord(
        id=f"{host}-{os.getpid()}-{secrets.token_hex(4)}",
        host=host,
        host_key=host_key(),
        pid=os.getpid(),
        version=version("milepost"),
        queues=queues,
        kinds=kinds,
        concurrency=concurrency,
    )


@cache
def host_key() -> str:
    """Name the machine since its last start, and the namespace of its process ids.

    Only where both are the same does an id that is not there mean a process that is dead:
    containers may share a host name and still number their processes apart.
    """
    if Path("/proc/self/ns/pid").exists():
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    return f"{socket.gethostname()}/{uuid.getnode()}"


def is_dead(worker: WorkerRecord) -> bool:
    """Whether a worker's process is gone for certain.

    False where nobody can know: another machine, or an id that may have been given again. Then
    its leases decide.
    """
    if worker.host_key != host_key() or worker.pid == os.getpid():
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(worker.pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended and only its parent has not looked yet."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # The name in parentheses may itself hold spaces and parentheses.
    return status.rpartition(")")[2].split()[0] in ("Z", "X")
