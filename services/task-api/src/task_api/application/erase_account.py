"""Erase a person: nobody gets in from the moment it is asked for, and then everything goes, a chunk at a time.

Each chunk is one transaction: its rows go, and the events that tell the siblings are in the outbox. A process that dies
in between leaves the rest to the next look. An account whose step fails steps aside for a while, so that those behind
it get their turn; how long the oldest one waits is measured.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from prometheus_client import Gauge

from event_contracts.users import UserDeleted
from event_contracts.values import Actor, ActorKind
from service_kit.logs import get_logger
from task_api.application.account_ports import Passwords, RevokedSessions
from task_api.application.announce import task_write
from task_api.application.audit import AuditLine, Origin, count_action
from task_api.application.ports import Announcement, Now, Owner, Stamp, Wake
from task_api.domain.errors import AccountNotFound, InvalidCredentials
from task_api.domain.ids import new_id
from task_api.domain.task import Task, erase, wordless

CHUNK = 200
ASIDE_FOR = timedelta(minutes=5)
"""How long a process leaves an account alone whose step failed."""

OLDEST_AGE = Gauge("erasure_oldest_age_seconds", "Age of the oldest erasure that is not done.")

_log = get_logger(__name__)


class Erasing(Protocol):
    """One step of an erasure, in one transaction."""

    async def next(self, besides: Collection[UUID]) -> Owner | None:
        """Lock the account that waits longest, `besides` these and those that other replicas are erasing."""

    async def tasks(self, user_id: UUID, limit: int) -> Sequence[tuple[Task, int | None]]:
        """Lock some of the person's tasks, each with the version of its series; none are left when there are none."""

    async def forget_unsent(self, task_ids: Sequence[UUID]) -> Collection[UUID]:
        """Delete those events of these tasks that the broker refused so far; the tasks that had one.

        What is held by a relay this moment stays: `remove_account` looks again.
        """

    async def remove_tasks(self, task_ids: Sequence[UUID], announcements: Sequence[Announcement]) -> None:
        """Delete the tasks with all that belongs to them, and append the events."""

    async def remove_account(self, user_id: UUID, announcement: Announcement) -> None:
        """Delete what is left of the person, refused events included but those of the erasure, and append the event."""


class Erasures(Protocol):
    """Where erasures are asked for and done."""

    async def password_of(self, user_id: UUID) -> str | None:
        """Read the password hash; None when there is no such account."""

    async def request(self, user_id: UUID, at: datetime, line: AuditLine) -> Sequence[UUID]:
        """Shut the account, free its address, take its keys and note it; all at once. Gives the ended sessions."""

    async def oldest(self) -> datetime | None:
        """Read when the oldest erasure that is not done was asked for; None when nobody waits."""

    def step(self) -> AbstractAsyncContextManager[Erasing]:
        """Open a step: committed when the block ends."""


@dataclass(frozen=True)
class EraseAccount:
    """The use case, and the work that follows it."""

    erasures: Erasures
    passwords: Passwords
    revoked: RevokedSessions
    now: Now
    wake: Wake
    # Of this process alone: another one, or this one started again, may have better luck.
    _aside: dict[UUID, datetime] = field(default_factory=dict, init=False)

    async def request(self, user_id: UUID, password: str, origin: Origin) -> None:
        """Ask for the erasure. Raises InvalidCredentials, AccountNotFound."""
        kept = await self.erasures.password_of(user_id)
        if kept is None:
            raise AccountNotFound("the account is gone")
        if not await self.passwords.matches(password, kept):
            raise InvalidCredentials("this is not the password of the account", user_id)
        at = await self.now()
        # Without the address: it would be of the erased.
        line = AuditLine(new_id(), at, "erasure", True, user_id, replace(origin, address=None))
        for family_id in await self.erasures.request(user_id, at, line):
            await self.revoked.add(family_id)
        count_action(line)

    async def work(self) -> None:
        """Erase until nobody waits whose turn it is; what was done stays done.

        Raises what the database raises, and the first error of an account once all others have had their turn.
        """
        failed: list[Exception] = []
        while await self._one_step(failed):
            pass
        if failed:
            raise failed[0]

    async def _one_step(self, failed: list[Exception]) -> bool:
        """Whether somebody had a turn; the error of an account that is set aside for it is added to `failed`."""
        at = await self.now()
        oldest = await self.erasures.oldest()
        OLDEST_AGE.set(0 if oldest is None else max((at - oldest).total_seconds(), 0))
        aside = [user_id for user_id, until in self._aside.items() if until > at]
        owner = None
        try:
            async with self.erasures.step() as step:
                owner = await step.next(aside)
                if owner is None:
                    return False
                await self._erase_some(step, owner, at)
        except Exception as error:
            if owner is None:
                raise
            # Whatever it was: a statement that takes too long is as good at standing in the way as a fault of ours.
            self._aside[owner.user_id] = at + ASIDE_FOR
            _log.exception("erasure_set_aside", user_id=str(owner.user_id))
            failed.append(error)
        else:
            self._aside.pop(owner.user_id, None)
            self.wake()
        return True

    async def _erase_some(self, step: Erasing, owner: Owner, at: datetime) -> None:
        user_id = owner.user_id
        stamp = Stamp(Actor(kind=ActorKind.USER, id=str(user_id)), at)
        tasks = await step.tasks(user_id, CHUNK)
        if not tasks:
            gone = Announcement(new_id(), "user-deleted", at, UserDeleted(user_id=user_id, deleted_at=at))
            await step.remove_account(user_id, gone)
            return
        task_ids = [task.id for task, _ in tasks]
        unsent = await step.forget_unsent(task_ids)
        # Who takes up series keeps them until one of their instances is erased, even one deleted long ago. What was
        # never heard of a task may have been its end, so that is told, too.
        told = [
            task_write(
                # Without the words before as well: an event names what it changes.
                wordless(task),
                erase(task, at),
                owner=owner,
                series_version=version,
                stamp=stamp,
            ).announcement
            for task, version in tasks
            if task.deleted_at is None or task.series_id is not None or task.id in unsent
        ]
        await step.remove_tasks(task_ids, told)
