"""From settings to a Redis client: plain, TLS, Sentinel, one node of a cluster."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from milepost.errors import ConfigurationError, SettingInvalid
from milepost.settings import RedisSettings

if TYPE_CHECKING:
    from redis import Redis

SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
}
SENTINEL_SCHEMES: Final = {"redis+sentinel": False, "rediss+sentinel": True}
TAKES: Final = (
    "redis://HOST[:PORT][/DB], rediss:// (TLS), unix://PATH, "
    "or redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
)


def describe(settings: RedisSettings) -> str:
    """Name the Redis without its password."""
    if not settings.url:
        return f"redis://{settings.host}:{settings.port}"
    scheme, _, rest = settings.url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def open_client(
    settings: RedisSettings, *, answer_within: timedelta | None = None, **more: Any
) -> "Redis":
    """Make a client; it connects when first used.

    Raises SettingInvalid, or ConfigurationError where the `redis` package is not there.
    """
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ModuleNotFoundError:
        raise ConfigurationError(
            "Redis needs two packages: pip install 'milepost[redis]'"
        ) from None
    options: dict[str, Any] = {
        "socket_connect_timeout": settings.answer_within.total_seconds(),
        # redis-py's own default of 5 s would break every read that blocks for longer.
        "socket_timeout": (answer_within or settings.answer_within).total_seconds(),
        "socket_keepalive": True,
        "decode_responses": True,
        # What another program wrote need not be text.
        "encoding_errors": "replace",
        "protocol": 2,
        # Sent again by itself, a script that moves jobs would move others.
        "retry": Retry(NoBackoff(), 0),
        **more,
    }
    if settings.password:
        options["password"] = settings.password
    if not settings.url:
        return redis.Redis(host=settings.host or "localhost", port=settings.port, **options)
    scheme, _, rest = settings.url.partition("://")
    if scheme in SENTINEL_SCHEMES:
        return _of_sentinel(settings.url, tls=SENTINEL_SCHEMES[scheme], options=options)
    if scheme not in SCHEMES:
        raise _invalid(settings)
    try:
        return redis.Redis.from_url(f"{SCHEMES[scheme]}://{rest}", **options)
    except ValueError:
        raise _invalid(settings) from None


def _invalid(settings: RedisSettings) -> SettingInvalid:
    return SettingInvalid("REDIS_URL", describe(settings), TAKES)


def _of_sentinel(url: str, *, tls: bool, options: dict[str, Any]) -> "Redis":
    from redis.sentinel import Sentinel

    # urlsplit takes one host and port; here are several.
    credentials, _, hosts = urlsplit(url).netloc.rpartition("@")
    service, _, database = urlsplit(url).path.strip("/").partition("/")
    places = [host.partition(":") for host in hosts.split(",")]
    if not service or not all(port.isdigit() for _, _, port in places):
        raise SettingInvalid("REDIS_URL", url.replace(f"{credentials}@", ""), TAKES)
    user, _, password = credentials.partition(":")
    if password:
        options = {**options, "password": unquote(password), "username": unquote(user) or None}
    sentinel = Sentinel(
        [(host, int(port)) for host, _, port in places],
        sentinel_kwargs={
            "socket_connect_timeout": options["socket_connect_timeout"],
            "socket_timeout": options["socket_connect_timeout"],
        },
        ssl=tls, db=int(database or 0), **options,
    )  # fmt: skip
    client: Redis = sentinel.master_for(service)
    return client
