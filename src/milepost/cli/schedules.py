"""`milepost schedules`: what is submitted again and again, and when."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast

import typer

from milepost.app import Milepost
from milepost.cli import loading
from milepost.cli.exits import DONE, exits
from milepost.cli.output import Output
from milepost.errors import ConfigurationError, ScheduleInvalid
from milepost.jobs.rules import Cron, Every, Rule, find_zone
from milepost.jobs.schedules import CatchUp, Overlap, Schedule
from milepost.schedules import describe
from milepost.settings import LONGEST, parse_duration
from milepost.store.schedules import Fire, ScheduleView

app = typer.Typer(
    help="See what is submitted again and again; add, pause, resume, run, remove.",
    no_args_is_help=True,
)

JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
NameArgument = Annotated[str, typer.Argument(help="The schedule's name.")]
AppOption = Annotated[str | None, typer.Option(help="module:attribute [$MILEPOST_APP].")]


@app.command("list")
@exits
def list_schedules(json: JsonOption = False) -> int:
    """List all schedules, with their next fire in their own time zone and in UTC."""
    output = Output(json=json)
    found = loading.with_store(lambda milepost: milepost.schedules.listed())
    for each in found:
        output.emit(describe(each))
    if not found:
        output.say("no schedules: @job(…, schedule=Cron(…)) or milepost schedules add")
        return DONE
    output.table(
        ["name", "kind", "when", "next", "next (UTC)", "last (UTC)", "last job", ""],
        [
            [
                each.name, each.kind, _when(each), _local(each.next_fire_at, each),
                f"{each.next_fire_at:%Y-%m-%d %H:%M:%S}",
                f"{each.last_fire_at:%Y-%m-%d %H:%M:%S}" if each.last_fire_at else "",
                f"{each.last_job_id} {each.last_state or 'pruned'}" if each.last_job_id else "",
                _remarks(each),
            ]
            for each in found
        ],
    )  # fmt: skip
    return DONE


@app.command()
@exits
def show(
    name: NameArgument,
    count: Annotated[int, typer.Option("--next", min=1, max=100, help="So many fires.")] = 5,
    json: JsonOption = False,
) -> int:
    """Show one schedule: its next fires and its last ones."""
    output = Output(json=json)

    async def read(milepost: Milepost) -> tuple[ScheduleView, list[Fire]]:
        return await milepost.schedules.find(name), await milepost.schedules.fires_of(name)

    view, fires = loading.with_store(read)
    output.emit(describe(view, count=count) | {"fires": [asdict(each) for each in fires]})
    output.say(f"schedule {view.name}: {view.kind} {view.args}")
    output.say(f"  when         {_when(view)}")
    for label, value in (
        ("queue", view.queue), ("priority", view.priority), ("owner", view.owner),
        ("jitter", view.jitter or None), ("remarks", _remarks(view) or None),
    ):  # fmt: skip
        if value is not None:
            output.say(f"  {label:<12} {value}")
    limit = f", at most {view.catch_up_limit}" if view.catch_up == "all" else ""
    output.say(f"  catch-up     {view.catch_up}{limit}")
    output.say(f"  overlap      {view.overlap}")
    output.say(f"  from         {'code' if view.declared else 'hand'}")
    for number, moment in enumerate(_upcoming(view, count, output)):
        label = "" if number else "next"
        output.say(f"  {label:<12} {_local(moment, view)}  ({moment:%Y-%m-%d %H:%M:%S} UTC)")
    for number, fire in enumerate(fires):
        label = "" if number else "last"
        became = f"skipped: job {fire.job_id} had not ended" if fire.skipped else f"{fire.job_id}"
        output.say(f"  {label:<12} {_local(fire.moment, view)}  {became}")
    return DONE


@app.command()
@exits
def add(
    name: Annotated[str, typer.Argument(help="Its name, such as nightly-acme.")],
    kind: Annotated[str, typer.Argument(help="The kind of its jobs, such as import-orders.")],
    args: Annotated[str | None, typer.Argument(help="Their args, as JSON.")] = None,
    app: AppOption = None,
    cron: Annotated[str | None, typer.Option(help="'0 3 * * *'; as cron has it.")] = None,
    every: Annotated[str | None, typer.Option(help="Instead: 30s, 5m, 2h.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Of --cron [default: UTC].")] = None,
    queue: Annotated[str | None, typer.Option(help="Instead of the definition's.")] = None,
    priority: Annotated[int | None, typer.Option(help="0 runs first.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose jobs they are.")] = None,
    catch_up: Annotated[str, typer.Option(help="What nobody was there for: skip, once, all.")] = (
        "once"
    ),
    catch_up_limit: Annotated[int, typer.Option(help="With all: at most so many.")] = 100,
    jitter: Annotated[str, typer.Option(help="Later by up to so long, by chance: 5m.")] = "0s",
    overlap: Annotated[
        str, typer.Option(help="While the last job has not ended: skip or allow.")
    ] = "skip",
    replace: Annotated[bool, typer.Option("--replace", help="Change the one there is.")] = False,
    json: JsonOption = False,
) -> int:
    """Add a schedule, or change one. Its args are checked against the definition."""
    schedule = Schedule(
        _rule(cron, every, timezone), queue=queue, priority=priority, owner=owner,
        catch_up=cast("CatchUp", catch_up), catch_up_limit=catch_up_limit,
        jitter=_duration("--jitter", jitter), overlap=cast("Overlap", overlap),
    )  # fmt: skip
    output = Output(json=json)
    view = loading.with_application(
        app,
        lambda milepost: milepost.schedules.add_json(name, kind, args, schedule, replace=replace),
    )
    output.emit(describe(view))
    output.say(f"schedule {name} fires next at {_local(view.next_fire_at, view)}")
    return DONE


@app.command()
@exits
def pause(name: NameArgument, json: JsonOption = False) -> int:
    """Let a schedule fire no more; what it has submitted runs."""
    loading.with_store(lambda milepost: milepost.schedules.pause(name))
    return _done(json, f"schedule {name} is paused", {"event": "paused", "schedule": name})


@app.command()
@exits
def resume(name: NameArgument, json: JsonOption = False) -> int:
    """Let a schedule fire again, from its next moment on."""

    async def work(milepost: Milepost) -> ScheduleView:
        await milepost.schedules.resume(name)
        return await milepost.schedules.find(name)

    view = loading.with_store(work)
    told = f"schedule {name} fires next at {_local(view.next_fire_at, view)}"
    return _done(json, told, {"event": "resumed", "schedule": name, "next": view.next_fire_at})


@app.command("run-now")
@exits
def run_now(name: NameArgument, app: AppOption = None, json: JsonOption = False) -> int:
    """Submit a job as the schedule would, at once; its own moments stay as they are."""
    made = loading.with_application(app, lambda milepost: milepost.schedules.run_now(name))
    told = f"job {made.job_id}" + (" (its last one, which has not ended)" if made.existed else "")
    return _done(json, told, {"event": "submitted", "job": made.job_id, "existed": made.existed})


@app.command("rm")
@exits
def remove(name: NameArgument, json: JsonOption = False) -> int:
    """Forget a schedule; its jobs stay. One that code declares comes back: pause that instead."""

    async def work(milepost: Milepost) -> bool:
        view = await milepost.schedules.find(name)
        await milepost.schedules.remove(name)
        return view.declared

    declared = loading.with_store(work)
    told = f"schedule {name} is removed"
    if declared:
        told += "; code declares it: it comes back when a worker starts, unless the code goes too"
    return _done(json, told, {"event": "removed", "schedule": name, "declared": declared})


def _done(json: bool, told: str, event: dict[str, Any]) -> int:
    output = Output(json=json)
    output.say(told)
    output.emit(event)
    return DONE


def _rule(cron: str | None, every: str | None, timezone: str | None) -> Rule:
    if (cron is None) == (every is None):
        raise ConfigurationError("give --cron '0 3 * * *' or --every 5m: one of them")
    if cron is not None:
        return Cron(cron, timezone or "UTC")
    if timezone is not None:
        raise ConfigurationError("--timezone goes with --cron: an interval is the same everywhere")
    return Every(seconds=_duration("--every", every or "").total_seconds())


def _duration(option: str, text: str) -> timedelta:
    found = parse_duration(text)
    if found is None:
        raise ConfigurationError(
            f"{option} takes a duration such as 30s, 5m or 2h, at most {LONGEST.days}d, not "
            f"{text!r}"
        )
    return found


def _when(view: ScheduleView) -> str:
    return f"every {view.every}" if view.cron is None else f"{view.cron} {view.timezone}"


def _local(moment: datetime, view: ScheduleView) -> str:
    """Spell a moment as the clock of its schedule shows it."""
    try:
        zone = find_zone(view.timezone)
    except ScheduleInvalid:
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S %Z}"
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _remarks(view: ScheduleView) -> str:
    remarks = []
    if view.paused_at is not None:
        remarks.append("paused")
    if view.overdue:
        remarks.append("overdue: no worker knows its kind")
    if view.missed_at is not None:
        remarks.append(f"missed {view.missed}, the last at {_local(view.missed_at, view)}")
    return ", ".join(remarks)


def _upcoming(view: ScheduleView, count: int, output: Output) -> list[datetime]:
    try:
        return view.upcoming(count)
    except ScheduleInvalid as error:
        output.error(str(error))
        return [view.next_fire_at]
