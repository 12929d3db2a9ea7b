"""Redis in the shapes that people run it: with a password, TLS, Sentinel, as a cluster."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from milepost.errors import RedisAway
from milepost.redis import Link
from milepost.settings import RedisSettings
from tests.servers import RedisServer, free_port, redis_server


@contextlib.contextmanager
def with_password() -> Iterator[RedisSettings]:
    with redis_server("--requirepass", "s3cret/@:") as server:
        yield RedisSettings(host="127.0.0.1", port=server.port, password="s3cret/@:")


@contextlib.contextmanager
def with_tls(folder: Path) -> Iterator[RedisSettings]:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    options = (
        "--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
        "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no",
    )  # fmt: skip
    with redis_server(*options):
        yield RedisSettings(url=f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")


class SentinelTrio:
    """A master, its replica, and one Sentinel that watches them."""

    def __init__(self, folder: Path) -> None:
        self.master = RedisServer.create()
        self.master.start()
        self.replica = RedisServer.create("--replicaof", "127.0.0.1", str(self.master.port))
        self.replica.start()
        config = folder / "sentinel.conf"
        config.write_text(
            f"sentinel monitor jobs 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds jobs 500\n"
            "sentinel failover-timeout jobs 2000\n"
        )
        self.sentinel = RedisServer.create(str(config), "--sentinel")
        self.sentinel.start()
        self.settings = RedisSettings(
            url=f"redis+sentinel://127.0.0.1:{self.sentinel.port}/jobs",
            answer_within=timedelta(seconds=1),
        )

    def remove(self) -> None:
        for server in (self.sentinel, self.replica, self.master):
            server.remove()


@contextlib.contextmanager
def with_sentinel(folder: Path) -> Iterator[SentinelTrio]:
    trio = SentinelTrio(folder)
    try:
        wait_for(trio.settings)
        yield trio
    finally:
        trio.remove()


@contextlib.contextmanager
def with_cluster() -> Iterator[list[RedisSettings]]:
    """Two nodes with half of the slots each; the settings name each of them."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(redis_server("--cluster-enabled", "yes")) for _ in range(2)]
        first, second = [Link(RedisSettings(url=node.url)) for node in nodes]
        for link, slots in ((first, (0, 8191)), (second, (8192, 16383))):
            link.call("CLUSTER", "ADDSLOTSRANGE", *slots)
        first.call("CLUSTER", "MEET", "127.0.0.1", nodes[1].port)
        first.close()
        second.close()
        settings = [RedisSettings(url=node.url) for node in nodes]
        for each in settings:
            wait_for(each)
        yield settings


def wait_for(settings: RedisSettings) -> None:
    """Wait until a Redis takes writes."""
    deadline = time.monotonic() + 30
    while True:
        link = Link(settings)
        try:
            link.call("SET", f"{settings.prefix}:ready", "1")
        except RedisAway:
            assert time.monotonic() < deadline, "it is never ready"
            time.sleep(0.05)
        else:
            return
        finally:
            link.close()
