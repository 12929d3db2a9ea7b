"""Whether the rows that a complete pass has not seen may be taken for gone at the source."""

from typing import Final

from milepost.downloads.state import TableState
from milepost.snapshots import Mode

# A table may well lose most of so few rows.
FEW: Final = 10


def doubt(
    mode: Mode,
    *,
    read: int,
    total: int | None,
    had: int,
    unseen: int,
    gone: int,
    sure: bool,
    allowed: bool,
) -> str | None:
    """Say why all rows are kept; None where the end of the pass may take away those that are gone.

    `had` counts the rows when the pass began, `unseen` those that it has not seen, `gone` those
    that its end would take away. `sure`: no record that lives can have slipped from a page that
    was not read yet to one that was. `allowed`: somebody knows that most rows may go.
    """
    if mode == "append":
        return None
    if total is not None and read < total:
        return (
            f"the source told of {total:,} records and gave {read:,}, so nobody knows which are "
            "gone: all rows are kept"
        )
    # Without a key, as in replace mode, nobody could tell such a record from the others later.
    if unseen and not sure and mode == "upsert":
        return (
            f"rows that were on no page: {unseen:,}; but the source pages by counting, and did not "
            "tell one and the same total on all pages: a record that was deleted meanwhile would "
            "have moved the others, so all rows are kept"
        )
    # replace deletes all older rows in any case: there it counts how many come in their place.
    lost = max(had - read, 0) if mode == "replace" else gone
    if not lost or allowed or (lost < had and (had <= FEW or lost * 2 < had)):
        return None
    return (
        f"{lost:,} of {had:,} rows seem to be gone at the source, which may be its error: all rows "
        "are kept; if they are really gone, say so with --allow-mass-deletion "
        "(allow_mass_deletion in the args)"
    )


def missed(state: TableState) -> str | None:
    """Say that records did not come which the source has; None where nothing tells of any."""
    if state.skipped:
        return f"{state.skipped:,} records could not be read"
    if state.total is not None and state.read < state.total:
        return f"the source told of {state.total:,} records and gave {state.read:,}"
    return None


def left_out(state: TableState) -> str | None:
    """Say that records were left out that the source has given, so that none is taken for gone."""
    if state.mode == "append" or not (state.skipped or state.counts.quarantined):
        return None
    what = (
        f"{state.skipped:,} records could not be read"
        if state.skipped
        else f"{state.counts.quarantined:,} records are in quarantine"
    )
    return f"{what}, so nobody knows which are gone: all rows are kept"
