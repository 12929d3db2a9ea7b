import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import boto3
import pytest

from tests.api_servers import MOTO, python_with


@dataclass(frozen=True)
class S3:
    """A bucket in a server of S3's protocol, in a process of its own."""

    url: str
    bucket: str
    env: Mapping[str, str]

    @property
    def options(self) -> dict[str, Any]:
        """What a source needs to reach it."""
        return {"key": "$KEY", "secret": "$SECRET", "client_kwargs": {"endpoint_url": self.url}}

    def put(self, key: str, content: bytes) -> str:
        self._client().put_object(Bucket=self.bucket, Key=key, Body=content)
        return f"s3://{self.bucket}/{key}"

    def make(self) -> None:
        self._client().create_bucket(Bucket=self.bucket)

    def _client(self) -> Any:
        return boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id=self.env["KEY"], aws_secret_access_key=self.env["SECRET"],
        )  # fmt: skip


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [python_with(MOTO), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None
            with contextlib.suppress(URLError, ConnectionError):
                urlopen(f"{url}/moto-api/").close()
                break
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


_buckets = iter(range(1_000_000))


@pytest.fixture
def s3(s3_server: str) -> S3:
    env = {"KEY": "access-key-id", "SECRET": "very-secret-key"}
    server = S3(s3_server, f"bucket-{next(_buckets)}", env)
    server.make()
    return server
