"""The checks of the hourly repair, in a due index."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from recurrence.application.errors import TryAgain
from recurrence.application.ports import CheckHandler
from recurrence.domain.checks import CHECK_AGAIN_AFTER, Check
from service_kit.due_index import Claim, ClaimHandler, Lease
from service_kit.sidecar import SidecarError
from service_kit.state_store import StateWriteFailed

INDEX_NAME = "successor-checks"
_AT_ONCE = 8
_CLAIMED_AT_ONCE = 64

_log = structlog.get_logger(__name__)


class Index(Protocol):
    """What is used of `service_kit.due_index.DueIndex`."""

    async def add(self, members: Mapping[str, datetime]) -> int: ...

    async def ack_many(self, leases: list[Lease]) -> list[bool]: ...

    async def release(self, lease: Lease, until: datetime) -> bool: ...

    async def sweep(self, handler: ClaimHandler, limit: int) -> int: ...


class RedisChecks:
    """A member is `<series>:<predecessor>:<closed_version>`, ids as 32 hexadecimal digits."""

    def __init__(self, index: Index) -> None:
        self._index = index

    async def expect(self, check: Check, at: datetime) -> None:
        """Have this looked at from `at` on; one that is there stays as it is. Raises RedisError."""
        member = f"{check.series_id.hex}:{check.predecessor_task_id.hex}:{check.closed_version}"
        await self._index.add({member: at})

    async def sweep(self, handler: CheckHandler) -> int:
        """Hand over all that is due, eight at once. Ends with the error of a handler that cannot go on now; the
        leases of what it left run out before the next sweep."""
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def ask(lease: Lease) -> bool:
            async with at_once:
                return await handler(_check(lease.member))

        async def look_at(claim: Claim) -> None:
            answers = await asyncio.gather(*map(ask, claim.leases), return_exceptions=True)
            settled = [lease for lease, answer in zip(claim.leases, answers, strict=True) if answer is True]
            await self._index.ack_many(settled)
            for lease, answer in zip(claim.leases, answers, strict=True):
                if answer is False:
                    await self._index.release(lease, claim.now + CHECK_AGAIN_AFTER)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer

        try:
            return await self._index.sweep(look_at, _CLAIMED_AT_ONCE)
        except (TryAgain, SidecarError, StateWriteFailed) as error:
            _log.warning("sweep_stopped", error=f"{type(error).__name__}: {error}")
            return 0


def _check(member: str) -> Check:
    series, predecessor, closed_version = member.split(":")
    return Check(UUID(series), UUID(predecessor), int(closed_version))
