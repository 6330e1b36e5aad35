"""While task-api does not answer, nothing is claimed that would only be put off, longer each time; when it is back, all
of it goes out at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from notifier.application.errors import TaskApiUnavailable

log = structlog.get_logger(__name__)


class Answering(Protocol):
    """task-api, as far as it can be asked whether it is there. `answers` is what its last answer, or none, says."""

    @property
    def answers(self) -> bool: ...

    async def epoch(self) -> int: ...


class AwaitTaskApi:
    """`step` is run by a loop: ask again while there was no answer, and wake the workers at the first one."""

    def __init__(self, task_api: Answering, wake: Callable[[], None]) -> None:
        self._task_api = task_api
        self._wake = wake

    def is_there(self) -> bool:
        """Whether the last question was answered; of one task's own trouble the next question knows nothing."""
        return self._task_api.answers

    async def step(self) -> None:
        if self._task_api.answers:
            return
        try:
            await self._task_api.epoch()
        except TaskApiUnavailable:
            return
        log.info("task_api_answers_again")
        self._wake()
