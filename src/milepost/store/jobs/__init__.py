"""The state machine: one function and one statement for each move of a job.

Every statement names the states it moves from; those of an attempt name its number too. What
moves where is `TRANSITIONS` in `jobs/states.py`; the tests hold each function against it.

    submit      → scheduled | available; so does adopt (`adoption.py`), for the broker's own jobs
    promote       scheduled → available
    flows         scheduled, for others → available | scheduled | failed, as those have ended;
                  failed → scheduled, as one of those is retried (`flows.py`)
    claim         available → running, attempt + 1, a lease
    renew         running, with a later end of its lease
    settle        running → completed | failed | cancelled | scheduled | available
    rescue        running, lease expired or worker dead → available | failed | cancelled
    cancel        scheduled | available → cancelled; running: a request with a time
    retry         failed | cancelled → available | scheduled

Those that run thousands of times a second are built once (`lru_cache`): building one takes longer
than running it.
"""

from milepost.store.jobs.cancelling import cancel, cancel_requests, cancel_these
from milepost.store.jobs.claiming import claim, claim_these, held_by, is_steered
from milepost.store.jobs.leasing import any_expired, expired_of, renew
from milepost.store.jobs.promoting import QueuedJob, promote, promote_these
from milepost.store.jobs.rescuing import Rescued, rescue
from milepost.store.jobs.retrying import retry
from milepost.store.jobs.rows import reprioritise, state_of
from milepost.store.jobs.settling import settle
from milepost.store.jobs.submitting import Submitted, insert_batch, submit

__all__ = [
    "QueuedJob",
    "Rescued",
    "Submitted",
    "any_expired",
    "cancel",
    "cancel_requests",
    "cancel_these",
    "claim",
    "claim_these",
    "expired_of",
    "held_by",
    "insert_batch",
    "is_steered",
    "promote",
    "promote_these",
    "renew",
    "reprioritise",
    "rescue",
    "retry",
    "settle",
    "state_of",
    "submit",
]
