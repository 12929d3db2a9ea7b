"""Which jobs are meant."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic_core import to_json
from sqlalchemy import ColumnElement, and_, or_

from milepost.jobs.leases import LARGEST_ID
from milepost.jobs.states import FINAL, JobState
from milepost.store.tables import jobs


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Jobs that fit all that is given. `search` is a part of an error, a unique key or a kind."""

    states: Sequence[JobState] = ()
    kind: str | None = None
    queue: str | None = None
    owner: str | None = None
    tag: str | None = None
    unique_key: str | None = None
    search: str | None = None

    def of_owner(self, owner: str | None) -> "JobFilter":
        """Mean of these jobs only an owner's; None: all of them."""
        return self if owner is None else replace(self, owner=owner)

    def conditions(self) -> list[ColumnElement[bool]]:
        """Spell it in SQL."""
        meant: list[ColumnElement[bool]] = []
        if self.states:
            meant.append(are(*self.states))
        given: dict[Any, str | None] = {
            jobs.c.kind: self.kind,
            jobs.c.queue: self.queue,
            jobs.c.owner: self.owner,
            jobs.c.unique_key: self.unique_key,
        }
        meant += [column == value for column, value in given.items() if value is not None]
        if self.tag is not None:
            # Tags are a JSON list of texts.
            meant.append(jobs.c.tags.contains(to_json(self.tag).decode(), autoescape=True))
        if self.search:
            looked_at = (jobs.c.error, jobs.c.unique_key, jobs.c.kind)
            found = [column.icontains(self.search, autoescape=True) for column in looked_at]
            number = self.search.lstrip("#")
            if number.isdecimal() and int(number) <= LARGEST_ID:
                found.append(jobs.c.id == int(number))
            meant.append(or_(*found))
        return meant


def are(*states: JobState) -> ColumnElement[bool]:
    """Spell that jobs are in one of some states, with what else is true of those.

    So that the planner knows the partial index that holds no others.
    """
    known: ColumnElement[bool] = (
        jobs.c.state.in_(states) if len(states) > 1 else (jobs.c.state == states[0])
    )
    if states == (JobState.RUNNING,):
        return and_(known, jobs.c.lease_expires_at.is_not(None))
    if FINAL.issuperset(states):
        return and_(known, jobs.c.finished_at.is_not(None))
    return known


EVERY_JOB: Final = JobFilter()
