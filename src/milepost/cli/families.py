"""A job's place among others, as `milepost jobs show` prints it."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from milepost.jobs.states import JobState
from milepost.store.families import Flow, Member

MOST_PARENTS: Final = 10


def flow_facts(flow: Flow) -> list[tuple[str, str]]:
    """Say in a line each who waits for a job, and for how many it waits."""
    facts = []
    if flow.parents:
        named = ", ".join(
            f"{each.id} ({each.kind}, {each.state})" for each in flow.parents[:MOST_PARENTS]
        )
        more = len(flow.parents) - MOST_PARENTS
        facts.append(("awaited by", named + (f" and {more} more" if more > 0 else "")))
    if flow.counts:
        counted = [f"{flow.counts[each]:,} {each}" for each in JobState if each in flow.counts]
        facts.append(("waits for", f"{sum(flow.counts.values()):,}: {', '.join(counted)}"))
    return facts


def flow_tree(flow: Flow) -> Iterator[str]:
    """Draw what a job waits for, each below the one that waits for it."""
    for each in flow.children:
        error = (each.error or "").partition("\n")[0][:60]
        line = f"{'  ' * each.depth}{each.id} {each.kind}  {each.state}"
        yield line + (f"  {error}" if error and each.state is not JobState.COMPLETED else "")
    if flow.more:
        yield f"  … the first {len(flow.children)} of them"


def flow_as_dict(flow: Flow) -> dict[str, Any]:
    """Spell a job's place among others for programs; `under` is the parent of each child."""
    return {
        "parents": [_member(each) for each in flow.parents],
        "children": [{**_member(each), "under": each.under} for each in flow.children],
        "children_by_state": dict(flow.counts),
        "more_children": flow.more,
    }


def _member(member: Member) -> dict[str, Any]:
    shown = ("id", "kind", "state", "error")
    return {name: value for name, value in asdict(member).items() if name in shown}
