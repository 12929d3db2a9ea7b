"""How long finished jobs stay in the history, and how many of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from milepost.errors import DefinitionInvalid
from milepost.jobs.backoff import LONGEST_WAIT
from milepost.jobs.states import JobState


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep finished jobs that are younger than `age`, and of those the newest `count`.

    None: whatever their age, or however many. `Keep()` keeps all of them for ever.
    """

    age: timedelta | None = None
    count: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """What is kept of a kind's jobs, by the state they ended in.

    None: as the settings say for all kinds; of cancelled ones, as for failed ones.
    """

    completed: Keep | None = None
    failed: Keep | None = None
    cancelled: Keep | None = None

    def by_state(self) -> Mapping[JobState, Keep]:
        """The rules that are given here."""
        given = {
            JobState.COMPLETED: self.completed,
            JobState.FAILED: self.failed,
            JobState.CANCELLED: self.cancelled or self.failed,
        }
        return {state: keep for state, keep in given.items() if keep is not None}


def check_retention(kind: str, retention: Retention | None) -> None:
    """Refuse what cannot be. Raises DefinitionInvalid."""
    for state, keep in (retention or Retention()).by_state().items():
        if keep.age is not None and not timedelta(0) <= keep.age <= LONGEST_WAIT:
            raise DefinitionInvalid(
                f"{kind}: {state} jobs are kept for at least 0 s and at most {LONGEST_WAIT}, not "
                f"{keep.age}"
            )
        if keep.count is not None and keep.count < 0:
            raise DefinitionInvalid(
                f"{kind}: a count of {state} jobs to keep must be at least 0, not {keep.count}"
            )
