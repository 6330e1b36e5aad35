"""Change an account; its open all-day tasks are told anew when the day starts elsewhere for them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import UUID

from event_contracts.values import Actor, ActorKind
from task_api.application.announce import series_write, task_write
from task_api.application.audit import Audit, AuditLine, Origin, count_action
from task_api.application.ports import Now, Stamp, Transaction, Wake
from task_api.domain.account import Account
from task_api.domain.errors import AccountNotFound
from task_api.domain.task import revise


class AccountWork(Protocol):
    """A unit of work that holds an account's row."""

    @property
    def account(self) -> Account: ...

    @property
    def tasks(self) -> Transaction: ...

    async def save(self, account: Account) -> None:
        """Write the account."""

    async def note(self, line: AuditLine) -> None:
        """Write a line of the audit log."""


class AccountDesk(Protocol):
    """Where such units of work come from."""

    def hold(self, user_id: UUID) -> AbstractAsyncContextManager[AccountWork | None]:
        """Lock an account's row; None when there is no such account."""


@dataclass(frozen=True)
class Profiles:
    """The use case."""

    desk: AccountDesk
    now: Now
    wake: Wake
    audit: Audit

    async def change(self, user_id: UUID, fields: Mapping[str, Any], origin: Origin) -> Account:
        """Merge the named fields into the account. Raises AccountNotFound, EmailTaken.

        A new zone takes along the all-day tasks and series that were in the old one; a new start of the day all of
        them.
        """
        async with self.desk.hold(user_id) as work:
            if work is None:
                raise AccountNotFound("the account is gone")
            before = work.account
            after = replace(before, **fields)
            if after != before:
                after = replace(after, updated_at=await self.now())
                await work.save(after)
                if (before.timezone, before.day_start) != (after.timezone, after.day_start):
                    await _tell_all_day(work.tasks, before, after, self.now)
            detail = {"changed": sorted(fields)}
            line = await self.audit.line("profile_changed", origin, user_id=user_id, detail=detail)
            await work.note(line)
        count_action(line)
        if after != before:
            self.wake()
        return after


async def _tell_all_day(work: Transaction, before: Account, after: Account, now: Now) -> None:
    owner = await work.owner(after.id)
    if owner is None:
        raise AccountNotFound("the account is gone")
    moving = (
        [] if before.timezone == after.timezone else await work.lock_all_day_series(after.id, before.timezone)
    )
    tasks = await work.lock_open_all_day(after.id)
    at = await now()
    stamp = Stamp(Actor(kind=ActorKind.USER, id=str(after.id)), at)
    moved = {series.id: (series, series.in_zone(after.timezone, at)) for series in moving}
    versions = await work.series_versions([task.series_id for task in tasks if task.series_id is not None])
    versions |= {series_id: in_zone.version for series_id, (_, in_zone) in moved.items()}
    for task in tasks:
        zone = after.timezone if task.timezone == before.timezone else task.timezone
        told = revise(task, replace(task, timezone=zone), at, after.day_start, old_day_start=before.day_start)
        if told is task:
            continue
        version = None if task.series_id is None else versions[task.series_id]
        write = task_write(
            task, told, owner=owner, series_version=version, stamp=stamp, old_day_start=before.day_start
        )
        await work.write(write, owner)
    for series, in_zone in moved.values():
        tip = await work.tip(series.id)
        await work.write_series(series_write(series, in_zone, tip=tip, epoch=owner.epoch, stamp=stamp))
