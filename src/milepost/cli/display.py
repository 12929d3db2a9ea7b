"""The progress of jobs while somebody watches them."""

from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from milepost.cli.output import Output
from milepost.jobs.leases import JobId
from milepost.jobs.progress import Estimate, Part, Progress
from milepost.store.logs import LogLine
from milepost.store.reading import JobView

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


def spell_time(span: timedelta) -> str:
    """Spell a length of time as people do: 45 s, 3 min, 2.5 h."""
    seconds = span.total_seconds()
    if seconds < 90:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    if seconds < 5400:  # noqa: PLR2004
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def spell_estimate(estimate: Estimate) -> str:
    """Spell a rate and the range of the time left; empty where nothing is known."""
    parts = []
    if estimate.rate is not None:
        parts.append(f"{estimate.rate:,.0f}/s")
    if estimate.remaining is not None:
        short, long = map(spell_time, estimate.remaining)
        parts.append(f"{short} left" if short == long else f"{short} to {long} left")
    return ", ".join(parts)


class Display:
    """Bars on a terminal, one line for each change otherwise, or JSON lines."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bars: dict[str, TaskID] = {}
        self._last: dict[JobId, Progress] = {}
        self._progress: Bars | None = None
        if output.live:
            from milepost.cli.terminal import bars

            self._progress = bars(output.terminal)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, view: JobView, estimate: Estimate) -> None:
        """Show where a job stands."""
        progress = view.progress
        if progress is None or progress == self._last.get(view.id):
            return
        self._last[view.id] = progress
        note = spell_estimate(estimate)
        self._output.emit(_as_event(view, progress, estimate))
        if self._progress is None:
            total = "" if progress.total is None else f" of {progress.total:,}"
            line = f"{progress.count:,}{total}"
            self._output.say("  ".join(filter(None, (line, progress.message or "", note))))
            return
        parts = progress.parts or {
            view.kind: Part(progress.count, progress.total),
        }
        for name, part in parts.items():
            if name not in self._bars:
                self._bars[name] = self._progress.add_task(name, total=None, note="")
            moving = name == list(parts)[-1] and part.count != part.total
            self._progress.update(
                self._bars[name],
                completed=part.count,
                total=part.total,
                note=note if moving else "",
            )

    def remark(self, line: LogLine) -> None:
        """Show what the job says of itself beside its progress, such as why it waits."""
        self._output.emit(
            {
                "event": "log",
                "job": line.lease.job_id,
                "level": line.level,
                "message": line.message,
            }
        )
        if self._progress is not None:
            self._progress.console.print(f"  {line.message}", style="yellow", markup=False)
        else:
            self._output.say(f"  {line.message}")


def _as_event(view: JobView, progress: Progress, estimate: Estimate) -> dict[str, Any]:
    remaining = estimate.remaining
    return {
        "event": "progress",
        "job": view.id,
        "state": view.state,
        "count": progress.count,
        "total": progress.total,
        "percentage": progress.percentage,
        "message": progress.message,
        "parts": {name: [part.count, part.total] for name, part in progress.parts.items()},
        "rate": estimate.rate,
        "seconds_left": remaining and [span.total_seconds() for span in remaining],
    }
