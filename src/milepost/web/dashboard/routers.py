"""All pages."""

from typing import Final

from milepost.web.dashboard import jobs, login, overview, parts, schedules

ROUTERS: Final = (overview.router, jobs.router, parts.router, schedules.router, login.router)
