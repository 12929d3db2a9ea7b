"""All pages."""

from typing import Final

from milepost.web.dashboard import jobs, login, overview, parts

ROUTERS: Final = (overview.router, jobs.router, parts.router, login.router)
