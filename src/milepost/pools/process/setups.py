"""What a child process is told before anything else."""

import logging

from milepost.pools.attempt import Surroundings
from milepost.pools.process.messages import Setup
from milepost.pools.process.origins import Origin
from milepost.settings import TelemetrySettings


def setup_of(around: Surroundings, origin: Origin) -> Setup:
    """Spell what surrounds the attempts of a worker for a child of it."""
    equipment = around.equipment
    equip = None if equipment is None else equipment.equip
    return Setup(
        origin=origin,
        database_url=around.database.engine.url.render_as_string(hide_password=False),
        store_id=around.store_id,
        largest_checkpoint=around.largest_checkpoint,
        largest_result=around.largest_result,
        largest_args=around.largest_args,
        log_levels=_log_levels(),
        worker_id=around.worker_id,
        equip=None if equip is None else f"{equip.__module__}:{equip.__qualname__}",
        telemetry=TelemetrySettings() if equipment is None else equipment.settings,
    )


def _log_levels() -> dict[str, int]:
    names = ["", *logging.root.manager.loggerDict]
    levels = {name: logging.getLogger(name).level for name in names}
    return {name: level for name, level in levels.items() if level != logging.NOTSET}
