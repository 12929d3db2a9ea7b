import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from milepost.connectors import Page
from milepost.downloads.batches import batches

ENOUGH = 1000
LONG = 60.0


def page(size: int = 1, *, last: bool = False) -> Page:
    return Page([{}] * size, cursor=1, last=last)


async def given(
    pages: Sequence[Page | asyncio.Event | Exception],
    *,
    within: float = LONG,
    hurry: bool = False,
) -> list[list[int]]:
    """The sizes of the pages of each batch, from pages that may wait or fail in between."""
    found: list[list[int]] = []
    async with (
        aclosing(_source(pages)) as coming,
        aclosing(batches(coming, enough=ENOUGH, within=within, hurry=lambda: hurry)) as batched,
    ):
        try:
            async for batch in batched:
                found.append([len(each.records) for each in batch])
                for wait in pages:
                    if isinstance(wait, asyncio.Event):
                        wait.set()
                        await asyncio.sleep(0)
        except OSError:
            found.append([-1])
    return found


async def _source(pages: Sequence[Page | asyncio.Event | Exception]) -> AsyncGenerator[Page, Any]:
    for each in pages:
        if isinstance(each, Exception):
            raise each
        if isinstance(each, asyncio.Event):
            await each.wait()
        else:
            yield each


async def test_small_pages_are_put_together_and_large_ones_are_not() -> None:
    pages = [page(400), page(400), page(400), page(ENOUGH), page(1), page(2, last=True)]

    assert await given(pages) == [[400, 400, 400], [ENOUGH], [1, 2]]


@pytest.mark.parametrize("options", [{"within": 0.0}, {"hurry": True}], ids=str)
async def test_none_waits_where_none_may(options: Any) -> None:
    assert await given([page(), page(), page(last=True)], **options) == [[1], [1], [1]]


async def test_what_is_held_does_not_wait_for_a_slow_source() -> None:
    # The source goes on only when it was given.
    assert await given([page(), page(), asyncio.Event(), page(last=True)], within=0.05) == [
        [1, 1], [1]
    ]  # fmt: skip


async def test_what_came_before_an_error_is_given_first() -> None:
    assert await given([page(), page(), OSError("lost")]) == [[1, 1], [-1]]


async def test_an_end_and_an_error_that_come_while_the_batch_is_stored() -> None:
    assert await given([page(), asyncio.Event()], within=0.05) == [[1]]
    assert await given([page(), asyncio.Event(), OSError("lost")], within=0.05) == [[1], [-1]]
    assert await given([page(), asyncio.Event(), page()], within=0.05) == [[1], [1]]


async def test_a_source_is_not_asked_on_when_nobody_wants_more() -> None:
    never = asyncio.Event()
    async with aclosing(_source([page(), never])) as coming:
        batched = batches(coming, enough=ENOUGH, within=0.01, hurry=lambda: False)
        assert len(await anext(batched)) == 1
        await batched.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(coming)
