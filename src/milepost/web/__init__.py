"""The HTTP API and the dashboard: `create_app` makes an ASGI application of a Milepost."""

from milepost.errors import ConfigurationError

try:
    import fastapi  # noqa: F401
    import jinja2  # noqa: F401
    import python_multipart  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise ConfigurationError(
        f"the web part needs {error.name}: pip install 'milepost[web]'"
    ) from None

from milepost.web.app import create_app
from milepost.web.guard import Openness
from milepost.web.serving import Server

__all__ = ["Openness", "Server", "create_app"]
