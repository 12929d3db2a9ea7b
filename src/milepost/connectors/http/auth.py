"""How an API wants to be told who asks: as data, whose secrets are templates."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from milepost.connectors.fields import CHECKED
from milepost.connectors.secrets import refuse_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Bearer:
    """`Authorization: Bearer …`, or another word for it."""

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    token: str
    type: Literal["bearer"] = "bearer"
    scheme: str = "Bearer"

    def __post_init__(self) -> None:
        """Refuse a plain token."""
        refuse_plain("token", self.token)


@dataclass(frozen=True, kw_only=True, slots=True)
class Basic:
    """User and password; one of them may be empty."""

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    user: str = ""
    password: str = ""
    type: Literal["basic"] = "basic"

    def __post_init__(self) -> None:
        """Refuse a plain password."""
        if ":" in self.user:
            raise ValueError("user must not hold a colon")
        refuse_plain("password", self.password or self.user)


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key in a header, or in a query parameter, of any name."""

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    value: str
    name: str = "X-Api-Key"
    type: Literal["api-key"] = "api-key"
    into: Literal["header", "query"] = "header"

    def __post_init__(self) -> None:
        """Refuse a plain key."""
        refuse_plain("value", self.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientCredentials:
    """OAuth 2.0, RFC 6749 section 4.4: the program's own account."""

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    token_url: str
    client_id: str
    client_secret: str
    type: Literal["client-credentials"] = "client-credentials"
    scope: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    """What else the token request sends: `audience`, `resource`."""
    client_in: Literal["header", "body"] = "header"

    def __post_init__(self) -> None:
        """Refuse a plain secret."""
        refuse_plain("client_secret", self.client_secret)


@dataclass(frozen=True, kw_only=True, slots=True)
class RefreshToken:
    """OAuth 2.0, RFC 6749 section 6: somebody has let the program in, for as long as it renews.

    A server may give another refresh token each time, and take the one before for stolen. Such a
    source has to be a connection, which keeps the newest.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    token_url: str
    client_id: str
    refresh_token: str
    client_secret: str | None = None
    type: Literal["refresh-token"] = "refresh-token"
    scope: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    client_in: Literal["header", "body"] = "body"

    def __post_init__(self) -> None:
        """Refuse plain secrets."""
        refuse_plain("refresh_token", self.refresh_token)
        refuse_plain("client_secret", self.client_secret or "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A login that gives a token, which goes into a header."""

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    login_url: str
    body: dict[str, Any]
    """Sent as JSON; its texts are templates: `{"user": "ada", "password": "$PASSWORD"}`."""
    type: Literal["session"] = "session"
    token_path: str = "token"  # noqa: S105 (where it is, not what)
    header: str = "Authorization"
    prefix: str = "Bearer "

    def __post_init__(self) -> None:
        """Refuse a login without any secret that is a template."""
        refuse_plain("body", " ".join(str(value) for value in self.body.values()))


Auth = Annotated[
    Bearer | Basic | ApiKey | ClientCredentials | RefreshToken | Session,
    Field(discriminator="type"),
]
