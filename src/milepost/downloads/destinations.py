"""Where a download goes: a template, of which only the parts are filled in."""

from sqlalchemy.engine import URL

from milepost.connectors import Secrets
from milepost.connectors.database_templates import filled_in
from milepost.database_urls import parse_url


def destination(template: str, secrets: Secrets) -> str | URL:
    """Put the values into a path or a database URL.

    Raises ConfigurationError, or FatalConnectorError that names a variable without value.
    """
    if "://" not in template or template.startswith("$"):
        return secrets.reveal(template)
    return filled_in(parse_url(template), secrets)
