"""Whether child processes start, for `milepost doctor`."""

from milepost.app import Milepost, complete_services
from milepost.cli.findings import Finding
from milepost.errors import ConfigurationError
from milepost.pools import origin_of
from milepost.pools.process import try_to_start


async def look_at_processes(milepost: Milepost) -> list[Finding]:
    """Start one, where a definition runs in them."""
    isolated = [each for each in milepost.registry if each.runs_here and each.pool == "process"]
    if not isolated:
        return []
    what = "child processes"
    try:
        origin = origin_of(isolated, milepost.services, complete_services)
    except ConfigurationError as error:
        return [Finding(what, False, str(error), "see docs/pools.md: a child imports what it runs")]
    url = milepost.database.engine.url.render_as_string(hide_password=False)
    trial = await try_to_start(origin, milepost.settings.processes.start, url)
    if trial.error is not None:
        todo = "importing the application must work in a new interpreter, started here"
        return [Finding(what, False, f"none starts: {trial.error}", todo)]
    why = f" ({trial.why})" if trial.why else ""
    took = f"{trial.took.total_seconds():.1f} s"
    return [Finding(what, True, f"start by {trial.method}{why}; the first took {took}")]
