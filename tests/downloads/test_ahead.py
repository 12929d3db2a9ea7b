"""The next thing comes while the one before is in use."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from milepost.downloads.ahead import ahead


class Source:
    """Numbers, and what was asked of them."""

    def __init__(self, *, breaks_at: int | None = None) -> None:
        self.given: list[int] = []
        self.closed = False
        self._breaks_at = breaks_at

    async def numbers(self) -> AsyncGenerator[int]:
        try:
            for number in range(4):
                if number == self._breaks_at:
                    raise ConnectionError("gone")
                self.given.append(number)
                yield number
        finally:
            self.closed = True


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def idle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_thing_comes_while_another_is_in_use_and_no_more() -> None:
    source = Source()
    async with aclosing(ahead(source.numbers(), doubled)) as things:
        assert await anext(things) == 0
        await idle()
        assert source.given == [0, 1]
        assert [each async for each in things] == [2, 4, 6]


async def test_an_error_comes_after_what_came_before_it_was_used() -> None:
    source = Source(breaks_at=1)
    async with aclosing(ahead(source.numbers(), doubled)) as things:
        assert await anext(things) == 0
        await idle()
        with pytest.raises(ConnectionError):
            await anext(things)


async def test_who_has_enough_leaves_nothing_running() -> None:
    source = Source()
    numbers = source.numbers()
    async with aclosing(numbers), aclosing(ahead(numbers, doubled)) as things:
        await anext(things)
    assert source.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}
