"""Single questions become few, and each answer is as fresh as its question."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from notifier.application.errors import TaskApiUnavailable
from service_kit.asked_together import AskedTogether


class Known:
    """Squares of what is below 100, as a slow store gives them; `asked` is each round of questions."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False

    async def squares(self, numbers: Sequence[int]) -> Mapping[int, int]:
        self.asked.append(list(numbers))
        await self.gate.wait()
        if self.fails:
            raise TaskApiUnavailable("away")
        return {number: number**2 for number in numbers if number < 100}


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def together(known: Known) -> AskedTogether[int, int]:
    return AskedTogether(known.squares, at_most=3)


async def test_what_is_asked_at_the_same_moment_is_one_question(
    known: Known, together: AskedTogether[int, int]
) -> None:
    assert await asyncio.gather(*(together.one(number) for number in (2, 2, 300, 3))) == [4, 4, None, 9]
    assert known.asked == [[2, 300, 3]]


async def test_what_comes_meanwhile_is_asked_afterwards_some_at_a_time(
    known: Known, together: AskedTogether[int, int]
) -> None:
    known.gate.clear()
    asking = [asyncio.create_task(together.one(1))]
    await asyncio.sleep(0.01)
    asking.append(asyncio.create_task(together.one(2)))
    await asyncio.sleep(0.01)
    asking += [asyncio.create_task(together.one(number)) for number in (1, 3, 4, 5)]
    await asyncio.sleep(0.01)
    assert known.asked == [[1], [2]], "two at a time, and no later question waits for an earlier one's answer"
    known.gate.set()
    assert await asyncio.gather(*asking) == [1, 4, 1, 9, 16, 25]
    assert sorted(known.asked[2:]) == [[1, 3, 4], [5]]


async def test_who_asks_later_gets_no_earlier_answer(known: Known, together: AskedTogether[int, int]) -> None:
    known.gate.clear()
    first = asyncio.create_task(together.one(1))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(together.one(1))
    await asyncio.sleep(0.01)
    known.gate.set()
    assert list(await asyncio.gather(first, second)) == [1, 1]
    assert known.asked == [[1], [1]]


async def test_nobody_counts_on_a_question_that_ends_at_this_moment() -> None:
    """The asker runs between the end of the work and the end of its task."""
    ended, other = asyncio.Event(), asyncio.Event()
    asked: list[int] = []

    async def ask(numbers: Sequence[int]) -> Mapping[int, int]:
        asked.extend(numbers)
        if numbers == [1]:
            await other.wait()
        if numbers == [2]:
            ended.set()
        return {number: number for number in numbers}

    together = AskedTogether(ask, at_most=1)

    async def third() -> int | None:
        await ended.wait()
        return await together.one(3)

    asking = [asyncio.create_task(third())]
    await asyncio.sleep(0)
    for number in (1, 2):
        asking.append(asyncio.create_task(together.one(number)))
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert sorted(asked) == [1, 2, 3], "the first one is still under way"
    other.set()
    assert sorted(one or 0 for one in await asyncio.gather(*asking)) == [1, 2, 3]


async def test_each_hears_of_a_failure_and_the_next_question_is_put(
    known: Known, together: AskedTogether[int, int]
) -> None:
    known.fails = True
    failed = await asyncio.gather(*(together.one(number) for number in (1, 2)), return_exceptions=True)
    assert [str(error) for error in failed] == ["away", "away"]
    known.fails = False
    assert await together.one(1) == 1


async def test_who_gives_up_does_so_alone(known: Known, together: AskedTogether[int, int]) -> None:
    known.gate.clear()
    patient, hasty = asyncio.create_task(together.one(7)), asyncio.create_task(together.one(7))
    await asyncio.sleep(0.01)
    hasty.cancel()
    await asyncio.sleep(0)
    known.gate.set()
    assert await patient == 49
    assert hasty.cancelled()
