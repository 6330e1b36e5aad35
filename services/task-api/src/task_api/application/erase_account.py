"""Erase a person: nobody gets in from the moment it is asked for, and then everything goes, a chunk at a time.

Each chunk is one transaction: its rows go, and the events that tell the siblings are in the outbox. A process that dies
in between leaves the rest to the next look.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from event_contracts.users import UserDeleted
from event_contracts.values import Actor, ActorKind
from task_api.application.account_ports import Passwords, RevokedSessions
from task_api.application.announce import task_write
from task_api.application.audit import AuditLine, Origin, count_action
from task_api.application.ports import Announcement, Now, Owner, Stamp, Wake
from task_api.domain.errors import AccountNotFound, InvalidCredentials
from task_api.domain.ids import new_id
from task_api.domain.task import Task, erase

CHUNK = 200


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some tasks of a person who is to be erased, locked; none are left when there are none."""

    owner: Owner
    tasks: Sequence[tuple[Task, int | None]]


class Erasing(Protocol):
    """One step of an erasure, in one transaction."""

    async def chunk(self, limit: int) -> Chunk | None:
        """Lock some tasks of somebody whom no other replica is erasing; None when nobody waits."""

    async def remove_tasks(self, task_ids: Sequence[UUID], announcements: Sequence[Announcement]) -> None:
        """Delete the tasks with all that belongs to them, and append the events."""

    async def remove_account(self, user_id: UUID, announcement: Announcement) -> None:
        """Delete what is left of the person, and append the event."""


class Erasures(Protocol):
    """Where erasures are asked for and done."""

    async def password_of(self, user_id: UUID) -> str | None:
        """Read the password hash; None when there is no such account."""

    async def request(self, user_id: UUID, at: datetime, line: AuditLine) -> Sequence[UUID]:
        """Shut the account, free its address, take its keys and note it; all at once. Gives the ended sessions."""

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
        """Erase until nobody waits. Raises what the database raises; what was done stays done."""
        while await self._one_step():
            self.wake()

    async def _one_step(self) -> bool:
        at = await self.now()
        async with self.erasures.step() as step:
            chunk = await step.chunk(CHUNK)
            if chunk is None:
                return False
            user_id = chunk.owner.user_id
            stamp = Stamp(Actor(kind=ActorKind.USER, id=str(user_id)), at)
            if not chunk.tasks:
                gone = Announcement(new_id(), "user-deleted", at, UserDeleted(user_id=user_id, deleted_at=at))
                await step.remove_account(user_id, gone)
                return True
            # Who takes up series keeps them until one of their instances is erased, even one deleted long ago.
            told = [
                task_write(
                    task,
                    erase(task, at),
                    owner=chunk.owner,
                    series_version=version,
                    stamp=stamp,
                ).announcement
                for task, version in chunk.tasks
                if task.deleted_at is None or task.series_id is not None
            ]
            await step.remove_tasks([task.id for task, _ in chunk.tasks], told)
            return True
