"""How a person is reached, for notifier: the account, its preferences and its channels in one query."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import time
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Text, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.logs import get_logger
from task_api.adapters.fernet_seal import Seal
from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.preferences import destination_of, preferences_of
from task_api.application.read_contact import Contact
from task_api.domain.errors import ChannelsUnreadable
from task_api.domain.preferences import Destination

_log = get_logger(__name__)

# Who is shut out, or waits to be erased, is told nothing more.
_CONTACT = (
    text(
        """
        SELECT users.id AS user_id, users.email AS address, users.first_name, users.locale, users.timezone,
            users.day_start, said.*,
            coalesce((
                SELECT json_agg(json_build_object(
                    'id', one.id, 'kind', one.kind, 'name', one.name, 'enabled', one.enabled,
                    'sealed', encode(one.sealed, 'base64')
                ) ORDER BY one.position, one.id)
                FROM notification_channels AS one WHERE one.user_id = users.id AND one.enabled
            ), '[]')::text AS channels
        FROM users LEFT JOIN notification_preferences AS said ON said.user_id = users.id
        WHERE users.id = :user_id AND users.disabled_at IS NULL
        """
    )
    .bindparams(bindparam("user_id", type_=Uuid()))
    .columns(channels=Text)
)


class PostgresContacts:
    """The port ContactReader on one engine."""

    def __init__(self, engine: AsyncEngine, seal: Seal) -> None:
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._seal = seal

    async def contact(self, user_id: UUID) -> Contact | None:
        """Read a contact; channels that no key opens are left out, and logged: the others must go on."""
        with storage_errors():
            async with self._plain.connect() as connection:
                found = await connection.execute(_CONTACT, {"user_id": user_id})
                row = found.mappings().one_or_none()
        if row is None:
            return None
        day_start: time = row["day_start"]
        said = None if row["version"] is None else row
        preferences = preferences_of(said, self._opened(orjson.loads(row["channels"])))
        return Contact(
            user_id,
            row["address"],
            row["first_name"],
            row["locale"],
            row["timezone"],
            day_start,
            preferences,
        )

    def _opened(self, rows: list[Mapping[str, Any]]) -> Iterator[Destination]:
        for row in rows:
            whole = {**row, "id": UUID(row["id"]), "sealed": base64.b64decode(row["sealed"])}
            try:
                yield destination_of(whole, self._seal)
            except ChannelsUnreadable as error:
                _log.error("channel_unreadable", channel_id=row["id"], kind=row["kind"], error=str(error))
