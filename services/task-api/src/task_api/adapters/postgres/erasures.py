"""Erasures on PostgreSQL: the flag on the account, and the steps that empty it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    LargeBinary,
    Text,
    and_,
    any_,
    delete,
    func,
    literal,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from task_api.adapters.postgres.audit_log import append_line
from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.outbox_append import enqueue
from task_api.adapters.postgres.rows import EPOCH, among, owner_of, task_of
from task_api.adapters.postgres.tables import (
    api_keys,
    audit_log,
    notification_channels,
    outbox,
    series,
    session_families,
    tasks,
    user_changes,
    users,
)
from task_api.application.audit import AuditLine
from task_api.application.ports import Announcement, Owner
from task_api.domain.task import Task

_NOBODYS_ADDRESS = "erased"


class PostgresErasing:
    """The port Erasing on one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def next(self, besides: Collection[UUID]) -> Owner | None:
        """Lock the account that waits longest."""
        waiting = (
            select(users, EPOCH)
            .where(users.c.erase_requested_at.is_not(None), not_(among(users.c.id, besides)))
            .order_by(users.c.erase_requested_at, users.c.id)
            .limit(1)
            .with_for_update(of=users, skip_locked=True)
        )
        account = (await self._connection.execute(waiting)).mappings().one_or_none()
        return None if account is None else owner_of(account)

    async def tasks(self, user_id: UUID, limit: int) -> Sequence[tuple[Task, int | None]]:
        """Lock tasks as everybody does, by id, but find them by number: in that order an index has one person's."""
        theirs = tasks.c.user_id == user_id
        some = await self._connection.execute(
            select(tasks.c.id).where(theirs).order_by(tasks.c.number).limit(limit)
        )
        found = await self._connection.execute(
            select(tasks, series.c.version.label("series_version"))
            .select_from(tasks.outerjoin(series, series.c.id == tasks.c.series_id))
            .where(theirs, among(tasks.c.id, some.scalars().all()))
            .order_by(tasks.c.id)
            .with_for_update(of=tasks)
        )
        return [(task_of(row), row["series_version"]) for row in found.mappings()]

    async def forget_unsent(self, task_ids: Sequence[UUID]) -> Collection[UUID]:
        """Delete parked and waiting rows by the key, which is the task's id; those that a relay holds stay."""
        keys = [str(task_id) for task_id in task_ids]
        return {UUID(key) for key in await self._forget(outbox.c.key == any_(literal(keys, ARRAY(Text))))}

    async def _forget(self, whose: ColumnElement[bool]) -> Sequence[str]:
        refused = or_(outbox.c.parked_at.is_not(None), outbox.c.next_attempt_at.is_not(None))
        # A relay holds its rows for as long as the broker takes: nobody waits for that with the tasks locked.
        doomed = select(outbox.c.id).where(refused, whose).with_for_update(skip_locked=True)
        gone = await self._connection.execute(
            delete(outbox).where(outbox.c.id.in_(doomed)).returning(outbox.c.key)
        )
        return gone.scalars().all()

    async def remove_tasks(self, task_ids: Sequence[UUID], announcements: Sequence[Announcement]) -> None:
        """Delete tasks; their reminders, history and activity go along."""
        await self._connection.execute(delete(tasks).where(among(tasks.c.id, task_ids)))
        await enqueue(self._connection, announcements)

    async def remove_account(self, user_id: UUID, announcement: Announcement) -> None:
        """Delete series, counter and account; keys, kept answers and read marks go along.

        Ended sessions stay as long as their tokens, without a name. So do the erasure's own events until they are out:
        they hold no words. Other refused ones go, also those of tasks that were purged before.
        """
        await self._forget(and_(_holds(f'"user_id":"{user_id}"'), not_(_holds('"closed_by":"erased"'))))
        await self._connection.execute(delete(series).where(series.c.user_id == user_id))
        # The deletion of the series has raised the counter by the time of the commit, unless that is done now.
        await self._connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
        await self._connection.execute(delete(user_changes).where(user_changes.c.user_id == user_id))
        await self._connection.execute(delete(users).where(users.c.id == user_id))
        # The audit log keeps that something was done under this id, and no more.
        await self._connection.execute(
            update(audit_log).where(audit_log.c.user_id == user_id).values(address=None, detail={})
        )
        await enqueue(self._connection, [announcement])


def _holds(part: str) -> ColumnElement[bool]:
    """Whether an event has this in its JSON, which is written without spaces; within a text the quotes are escaped."""
    return func.position(literal(part.encode(), LargeBinary).op("IN")(outbox.c.event)) > 0


class PostgresErasures:
    """The port Erasures on one engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def password_of(self, user_id: UUID) -> str | None:
        """Read the password hash of an account that is open."""
        with storage_errors():
            async with self._engine.connect() as connection:
                found = select(users.c.password_hash).where(
                    users.c.id == user_id, users.c.disabled_at.is_(None)
                )
                kept: str | None = (await connection.execute(found)).scalar_one_or_none()
                return kept

    async def oldest(self) -> datetime | None:
        """Read the least moment at which an erasure was asked for that is not done."""
        with storage_errors():
            async with self._engine.connect() as connection:
                asked_for = users.c.erase_requested_at
                found = select(func.min(asked_for)).where(asked_for.is_not(None))
                oldest: datetime | None = await connection.scalar(found)
                return oldest

    async def request(self, user_id: UUID, at: datetime, line: AuditLine) -> Sequence[UUID]:
        """Shut the account: what names the person goes at once, the rest by and by."""
        nobody = func.concat(_NOBODYS_ADDRESS, ":", users.c.id)
        with storage_errors():
            async with self._engine.begin() as connection:
                await connection.execute(
                    update(users)
                    .where(users.c.id == user_id)
                    .values(
                        erase_requested_at=func.coalesce(users.c.erase_requested_at, at),
                        disabled_at=func.coalesce(users.c.disabled_at, at),
                        email=nobody,
                        email_key=nobody,
                        first_name=None,
                        last_name=None,
                        password_hash="",
                    )
                )
                for theirs in (api_keys, notification_channels):
                    await connection.execute(delete(theirs).where(theirs.c.user_id == user_id))
                await connection.execute(append_line(line))
                family = session_families
                ended = await connection.execute(
                    update(family)
                    .where(family.c.user_id == user_id, family.c.revoked_at.is_(None))
                    # Sessions live by the machine's clock, even where a test moves the service's.
                    .values(revoked_at=func.clock_timestamp())
                    .returning(family.c.id)
                )
                return [row.id for row in ended]

    def step(self) -> AbstractAsyncContextManager[PostgresErasing]:
        """Open a step: committed when the block ends, rolled back when it raises."""
        return self._step()

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[PostgresErasing]:
        with storage_errors():
            async with self._engine.begin() as connection:
                yield PostgresErasing(connection)
