"""Preferences on PostgreSQL; addresses and secrets are sealed before they get there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from event_contracts.values import LatePolicy
from task_api.adapters.fernet_seal import Seal
from task_api.adapters.postgres.audit_log import append_line
from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.tables import notification_channels as channels
from task_api.adapters.postgres.tables import notification_preferences as preferences
from task_api.adapters.postgres.tables import users
from task_api.application.audit import AuditLine
from task_api.domain.preferences import (
    Chat,
    Destination,
    Preferences,
    PushSubscription,
    QuietHours,
    Webhook,
)

_KINDS: dict[str, type[Webhook | Chat | PushSubscription]] = {
    "webhook": Webhook,
    "chat": Chat,
    "push": PushSubscription,
}
_KIND_OF = {made: kind for kind, made in _KINDS.items()}
_SEALED = {"webhook": ("url", "secret"), "chat": ("url",), "push": ("endpoint", "p256dh", "auth")}


def destination_of(row: Mapping[Any, Any], seal: Seal) -> Destination:
    """Give the channel of a row. Raises ChannelsUnreadable."""
    return _KINDS[row["kind"]](
        id=row["id"], name=row["name"], enabled=row["enabled"], **seal.open(row["sealed"])
    )


def preferences_of(row: Mapping[Any, Any] | None, found: Iterable[Destination]) -> Preferences:
    """Give the preferences of a row and its channels; the defaults without a row."""
    lists: dict[type, list[Any]] = {Webhook: [], Chat: [], PushSubscription: []}
    for one in found:
        lists[type(one)].append(one)
    of_kinds: dict[str, Any] = {
        "webhooks": tuple(lists[Webhook]),
        "chats": tuple(lists[Chat]),
        "push": tuple(lists[PushSubscription]),
    }
    if row is None:
        return Preferences(**of_kinds)
    quiet = None if row["quiet_from"] is None else QuietHours(row["quiet_from"], row["quiet_until"])
    return Preferences(
        version=row["version"],
        email=row["email"],
        quiet_hours=quiet,
        late_policy=LatePolicy(row["late_policy"]),
        drop_after=row["drop_after"],
        generated=row["generated"],
        updated_at=row["updated_at"],
        **of_kinds,
    )


class HeldPreferences:
    """The port of this name: the account's row is locked."""

    def __init__(
        self, connection: AsyncConnection, seal: Seal, user_id: UUID, preferences: Preferences
    ) -> None:
        self._connection = connection
        self._seal = seal
        self._user_id = user_id
        self.preferences = preferences

    async def save(self, wanted: Preferences) -> None:
        """Write them, the channels anew."""
        quiet = wanted.quiet_hours
        values = {
            "version": wanted.version,
            "email": wanted.email,
            "quiet_from": quiet and quiet.start,
            "quiet_until": quiet and quiet.until,
            "late_policy": wanted.late_policy.value,
            "drop_after": wanted.drop_after,
            "generated": wanted.generated,
            "updated_at": wanted.updated_at,
        }
        row = insert(preferences).values(user_id=self._user_id, **values)
        await self._connection.execute(
            row.on_conflict_do_update(index_elements=[preferences.c.user_id], set_=values)
        )
        if wanted.destinations == self.preferences.destinations:
            return
        await self._connection.execute(delete(channels).where(channels.c.user_id == self._user_id))
        rows = [self._row(position, one) for position, one in enumerate(wanted.destinations)]
        if rows:
            await self._connection.execute(insert(channels), rows)

    async def note(self, line: AuditLine) -> None:
        """Append the line."""
        await self._connection.execute(append_line(line))

    def _row(self, position: int, one: Destination) -> dict[str, Any]:
        kind = _KIND_OF[type(one)]
        return {
            "id": one.id,
            "user_id": self._user_id,
            "kind": kind,
            "position": position,
            "name": one.name,
            "enabled": one.enabled,
            "sealed": self._seal.close({field: getattr(one, field) for field in _SEALED[kind]}),
        }


class PostgresPreferences:
    """The port PreferencesStore on one engine."""

    def __init__(self, engine: AsyncEngine, seal: Seal) -> None:
        self._engine = engine
        self._steady = engine.execution_options(isolation_level="REPEATABLE READ")
        self._seal = seal

    async def read(self, user_id: UUID) -> Preferences:
        """Read them as of one moment; the defaults when nothing was ever said."""
        with storage_errors():
            async with self._steady.connect() as connection:
                return await self._read(connection, user_id)

    @asynccontextmanager
    async def hold(self, user_id: UUID) -> AsyncIterator[HeldPreferences | None]:
        """Lock the account's row; None when there is no such account."""
        with storage_errors():
            async with self._engine.begin() as connection:
                lock = (
                    select(users.c.id)
                    .where(users.c.id == user_id, users.c.disabled_at.is_(None))
                    .with_for_update(key_share=True)
                )
                if (await connection.execute(lock)).one_or_none() is None:
                    yield None
                else:
                    found = await self._read(connection, user_id)
                    yield HeldPreferences(connection, self._seal, user_id, found)

    async def remove_push(self, push_id: UUID, line: AuditLine) -> bool:
        """Remove a subscription, and let the version say so."""
        gone = (
            delete(channels)
            .where(channels.c.id == push_id, channels.c.kind == "push")
            .returning(channels.c.user_id)
        )
        with storage_errors():
            async with self._engine.begin() as connection:
                user_id = await connection.scalar(gone)
                if user_id is None:
                    return False
                raised = preferences.update().where(preferences.c.user_id == user_id)
                await connection.execute(raised.values(version=preferences.c.version + 1))
                await connection.execute(append_line(replace(line, user_id=user_id)))
                return True

    async def renew(self) -> int:
        """Seal everything with the first key; gives how many rows there are. Raises ChannelsUnreadable."""
        with storage_errors():
            async with self._engine.begin() as connection:
                rows = await connection.execute(select(channels.c.id, channels.c.sealed).with_for_update())
                found = list(rows)
                for row in found:
                    again = channels.update().where(channels.c.id == row.id)
                    await connection.execute(again.values(sealed=self._seal.renew(row.sealed)))
                return len(found)

    async def _read(self, connection: AsyncConnection, user_id: UUID) -> Preferences:
        said = await connection.execute(select(preferences).where(preferences.c.user_id == user_id))
        theirs = (
            select(channels).where(channels.c.user_id == user_id).order_by(channels.c.position, channels.c.id)
        )
        rows = (await connection.execute(theirs)).mappings()
        found = [destination_of(row, self._seal) for row in rows]
        return preferences_of(said.mappings().one_or_none(), found)
