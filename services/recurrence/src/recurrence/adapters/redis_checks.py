"""What the sweeps look after, in due indexes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import structlog

from recurrence.application.errors import TryAgain
from recurrence.application.ports import Answer
from recurrence.domain.checks import CHECK_AGAIN_AFTER, Awaited, Check
from service_kit.due_index import Claim, ClaimHandler, Lease
from service_kit.sidecar import SidecarError
from service_kit.state_store import StateWriteFailed

INDEX_NAME = "successor-checks"
AWAITED_INDEX_NAME = "awaited-occurrences"
_AT_ONCE = 8
_CLAIMED_AT_ONCE = 64

MatterT = TypeVar("MatterT")

_log = structlog.get_logger(__name__)


class Index(Protocol):
    """What is used of `service_kit.due_index.DueIndex`."""

    async def add(self, members: Mapping[str, datetime]) -> int: ...

    async def ack_many(self, leases: list[Lease]) -> list[bool]: ...

    async def release(self, lease: Lease, until: datetime) -> bool: ...

    async def sweep(self, handler: ClaimHandler, limit: int) -> int: ...

    async def next_due(self) -> datetime | None: ...


class RedisMatters(Generic[MatterT]):
    """Things to be looked at from a moment on, until they are settled; `on_expected` hears of each new one."""

    def __init__(
        self,
        index: Index,
        write: Callable[[MatterT], str],
        read: Callable[[str], MatterT],
        on_expected: Callable[[datetime], None] = lambda _: None,
    ) -> None:
        self._index = index
        self._write = write
        self._read = read
        self._on_expected = on_expected

    async def expect(self, matter: MatterT, at: datetime) -> None:
        """Have this looked at from `at` on; one that is there stays as it is. Raises RedisError."""
        if await self._index.add({self._write(matter): at}):
            self._on_expected(at)

    async def next_due(self) -> datetime | None:
        """When there is something to look at; None when there is nothing. Raises RedisError."""
        return await self._index.next_due()

    async def sweep(self, handler: Callable[[MatterT, datetime], Awaitable[Answer]]) -> int:
        """Hand over all that is due, with the moment of Redis at which it is, eight at once. Ends with the error of a
        handler that cannot go on now; the leases of what it left run out before the next sweep."""
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def look_at(claim: Claim) -> None:
            async def ask(lease: Lease) -> Answer:
                async with at_once:
                    return await handler(self._read(lease.member), claim.now)

            answers = await asyncio.gather(*map(ask, claim.leases), return_exceptions=True)
            settled = [lease for lease, answer in zip(claim.leases, answers, strict=True) if answer is True]
            await self._index.ack_many(settled)
            for lease, answer in zip(claim.leases, answers, strict=True):
                if answer is False or isinstance(answer, timedelta):
                    pause = answer or CHECK_AGAIN_AFTER
                    await self._index.release(lease, claim.now + pause)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer

        try:
            return await self._index.sweep(look_at, _CLAIMED_AT_ONCE)
        except (TryAgain, SidecarError, StateWriteFailed) as error:
            _log.warning("sweep_stopped", error=f"{type(error).__name__}: {error}")
            return 0


class RedisChecks(RedisMatters[Check]):
    """A member is `<series>:<predecessor>:<closed_version>`, ids as 32 hexadecimal digits."""

    def __init__(self, index: Index) -> None:
        super().__init__(index, _check_member, _check)


class RedisAwaited(RedisMatters[Awaited]):
    """A member is `<series>:<series version>:<task>:<task version>`, ids as 32 hexadecimal digits."""

    def __init__(self, index: Index, on_expected: Callable[[datetime], None] = lambda _: None) -> None:
        super().__init__(index, _awaited_member, _awaited, on_expected)


def _check_member(check: Check) -> str:
    return f"{check.series_id.hex}:{check.predecessor_task_id.hex}:{check.closed_version}"


def _check(member: str) -> Check:
    series, predecessor, closed_version = member.split(":")
    return Check(UUID(series), UUID(predecessor), int(closed_version))


def _awaited_member(awaited: Awaited) -> str:
    return f"{awaited.series_id.hex}:{awaited.series_version}:{awaited.task_id.hex}:{awaited.task_version}"


def _awaited(member: str) -> Awaited:
    series, series_version, task, task_version = member.split(":")
    return Awaited(UUID(series), int(series_version), UUID(task), int(task_version))
