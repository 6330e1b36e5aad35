"""The same for many things, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

_AT_ONCE = 16

ThingT = TypeVar("ThingT")
ResultT = TypeVar("ResultT")


async def few_at_once(
    do: Callable[[ThingT], Awaitable[ResultT]], things: Iterable[ThingT]
) -> Sequence[ResultT]:
    """Do it to all of them, a few at a time; when one fails, the others are not left running."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(thing: ThingT) -> ResultT:
        async with room:
            return await do(thing)

    begun = [asyncio.create_task(one(thing)) for thing in things]
    try:
        return await asyncio.gather(*begun)
    finally:
        for task in begun:
            task.cancel()
