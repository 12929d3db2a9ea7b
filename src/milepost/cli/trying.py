"""Tries a source: what of it works, before a job finds out."""

from datetime import timedelta

from milepost.cli.exits import DONE, FAILED
from milepost.cli.output import Output
from milepost.connectors import Report
from milepost.downloads import Found, Sources


async def try_source(sources: Sources, found: Found, output: Output, **named: str) -> int:
    """Ask the source for a page of each table, and say what works; returns the exit code."""

    def say_wait(why: str, wait: timedelta) -> None:
        output.say(f"{why}; waiting {wait.total_seconds():.1f} s")

    connector = await sources.open(found, on_wait=say_wait)
    try:
        report = await connector.test()
    finally:
        await connector.aclose()
    # The source's own words are in it: names of tables, notes, the problem.
    hide = found.secrets.hide
    for label, value in _facts(report):
        output.say(f"{label:<14} {hide(value)}")
    output.emit(
        {
            **named,
            "reached": report.reached,
            "authenticated": report.authenticated,
            "tables": [hide(table.name) for table in report.tables],
            "notes": [hide(note) for note in report.notes],
            "rate_limit": report.rate_limit and hide(report.rate_limit),
            "problem": report.problem and hide(report.problem),
        }
    )
    name = named.get("connection")
    if name and report.reached and not report.authenticated:
        output.say(f"\nTo give a credential again: milepost connections set {name} CREDENTIAL")
    return DONE if report.problem is None else FAILED


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = [
        ("reached", _answer(good=report.reached)),
        ("authenticated", _answer(good=report.authenticated)),
        ("tables", ", ".join(table.name for table in report.tables) or "none seen"),
        ("rate limit", report.rate_limit or ""),
        *(("", note) for note in report.notes),
        ("problem", report.problem or ""),
    ]
    return [(label, value) for label, value in facts if value]


def _answer(*, good: bool) -> str:
    return "yes" if good else "no"
