"""Many ask for one thing each; what comes while a question is under way is asked together in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT")
AnswerT = TypeVar("AnswerT")

_UNDER_WAY = 2


class AskedTogether(Generic[KeyT, AnswerT]):
    """Gathers single questions into few. Nobody gets an answer to a question that was put before theirs.

    `ask` gives what it knows of some keys, at most `at_most`. Whatever it raises, each of those who asked is told.
    """

    def __init__(
        self, ask: Callable[[Sequence[KeyT]], Awaitable[Mapping[KeyT, AnswerT]]], *, at_most: int
    ) -> None:
        self._ask = ask
        self._at_most = at_most
        self._waiting: dict[KeyT, asyncio.Future[AnswerT | None]] = {}
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def one(self, key: KeyT) -> AnswerT | None:
        """What is known of it; None when nothing is. Raises what `ask` raises."""
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
            if self._under_way < _UNDER_WAY:
                self._under_way += 1
                task = asyncio.create_task(self._work_off(), name="ask-together")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        # Others may wait for the same answer: whoever gives up does so alone.
        return await asyncio.shield(answer)

    async def _work_off(self) -> None:
        try:
            await asyncio.sleep(0)  # whoever is about to ask at the same moment joins
            await self._ask_for_all()
        finally:
            # In the same step in which it saw that nobody waits: who asks next must not count on it.
            self._under_way -= 1

    async def _ask_for_all(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[: self._at_most]
            asked = {key: self._waiting.pop(key) for key in keys}
            try:
                known = await self._ask(keys)
            except BaseException as error:
                for answer in asked.values():
                    _fail(answer, error)
                if not isinstance(error, Exception):
                    raise
                continue
            for key, answer in asked.items():
                answer.set_result(known.get(key))


def _fail(answer: asyncio.Future[AnswerT], error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        answer.cancel()
        return
    answer.set_exception(error)
    answer.exception()  # nobody may be left to hear of it, which is no fault
