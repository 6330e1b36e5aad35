"""Accounts and sessions on PostgreSQL; a login or refresh is a single statement that commits by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, bindparam, func, literal, select, text, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.types import TypeEngine

from task_api.adapters.postgres.audit_log import LINE_PARAMETERS, append_line, line_of, line_values
from task_api.adapters.postgres.database import PostgresDatabase, storage_errors
from task_api.adapters.postgres.rows import Row
from task_api.adapters.postgres.tables import refresh_tokens, session_families, users
from task_api.adapters.postgres.transaction import PostgresTransaction
from task_api.application.account_ports import NewSession, Rotated
from task_api.application.administration import Managed
from task_api.application.audit import AuditLine
from task_api.application.ports import Position
from task_api.domain.account import Account, email_key
from task_api.domain.errors import AccountErased, EmailTaken

_COLUMNS = (
    "id",
    "email",
    "timezone",
    "created_at",
    "updated_at",
    "first_name",
    "last_name",
    "day_start",
    "locale",
    "default_reminder",
    "role",
)

_TYPES: dict[str, TypeEngine[Any]] = {
    **{column.name: column.type for column in users.c},
    "user_id": users.c.id.type,
    "family_id": session_families.c.id.type,
    "token_hash": refresh_tokens.c.hash.type,
    "new_hash": refresh_tokens.c.hash.type,
    "expires_at": users.c.created_at.type,
}


def _statement(sql: str, *names: str) -> TextClause:
    return text(sql).bindparams(*(bindparam(name, type_=_TYPES[name]) for name in names), *LINE_PARAMETERS)


_NEW_SESSION = """
    family AS (
        INSERT INTO session_families (id, user_id, created_at, expires_at)
        SELECT :family_id, owner.id, :at, :expires_at FROM owner
    ), token AS (
        INSERT INTO refresh_tokens (hash, family_id, issued_at, expires_at)
        SELECT :token_hash, :family_id, :at, :expires_at FROM owner
    )"""
_SESSION_NAMES = ("family_id", "token_hash", "expires_at")

_REGISTER = _statement(
    f"""
    WITH owner AS (
        INSERT INTO users (email_key, password_hash, {", ".join(_COLUMNS)})
        VALUES (:email_key, :password_hash, {", ".join(f":{name}" for name in _COLUMNS)})
        ON CONFLICT (email_key) DO NOTHING RETURNING id
    ), {_NEW_SESSION}, line AS ({line_of("owner", "id")})
    SELECT id FROM owner
    """,  # noqa: S608 - names of our own columns
    "email_key",
    "password_hash",
    *_COLUMNS,
    *_SESSION_NAMES,
)

# Disabling holds the account's row: the statement waits for it and then finds the account shut. The other way round,
# disabling waits and then finds the new family.
_OPEN_SESSION = _statement(
    f"""
    WITH owner AS (
        SELECT {", ".join(_COLUMNS)} FROM users WHERE id = :user_id AND disabled_at IS NULL FOR SHARE
    ), {_NEW_SESSION}, line AS ({line_of("owner", "id")})
    SELECT * FROM owner
    """,  # noqa: S608 - names of our own columns
    "user_id",
    *_SESSION_NAMES,
)

# A logout at the same moment holds the family's row: the update waits for it and then finds the family revoked.
_ROTATE = _statement(
    f"""
    WITH used AS (
        UPDATE refresh_tokens SET used_at = :at
        WHERE hash = :token_hash AND used_at IS NULL AND expires_at > :at
        RETURNING family_id
    ), family AS (
        UPDATE session_families SET expires_at = :expires_at
        FROM used WHERE session_families.id = used.family_id AND revoked_at IS NULL
        RETURNING session_families.id, session_families.user_id
    ), token AS (
        INSERT INTO refresh_tokens (hash, family_id, issued_at, expires_at)
        SELECT :new_hash, family.id, :at, :expires_at FROM family
    ), owner AS (
        SELECT {", ".join(f"users.{name}" for name in _COLUMNS)}, family.id AS family_id
        FROM users JOIN family ON family.user_id = users.id WHERE users.disabled_at IS NULL
    ), line AS ({line_of("owner", "id")})
    SELECT * FROM owner
    """,  # noqa: S608 - names of our own columns
    "token_hash",
    "new_hash",
    "expires_at",
)

_REVOKE_REUSED = _statement(
    f"""
    WITH ended AS (
        UPDATE session_families SET revoked_at = :at
        WHERE id = (SELECT family_id FROM refresh_tokens WHERE hash = :token_hash AND used_at IS NOT NULL)
            AND revoked_at IS NULL
        RETURNING id, user_id
    ), line AS ({line_of("ended", "user_id")})
    SELECT id FROM ended
    """,  # noqa: S608 - names of our own columns
    "token_hash",
)


def account_of(row: Row) -> Account:
    """Give the account of a `users` row."""
    return Account(**{name: row[name] for name in _COLUMNS})


def account_row(account: Account) -> dict[str, Any]:
    """Give the columns of an account that people and rules set."""
    return {name: getattr(account, name) for name in _COLUMNS}


class HeldAccount:
    """The port AccountWork."""

    def __init__(self, account: Account, work: PostgresTransaction) -> None:
        self.account = account
        self.tasks = work

    async def save(self, account: Account) -> None:
        """Write the account. Raises EmailTaken."""
        values = account_row(account) | {"email_key": email_key(account.email)}
        try:
            await self.tasks.connection.execute(update(users).where(users.c.id == account.id).values(values))
        except IntegrityError as error:
            raise EmailTaken("there is an account with this e-mail address") from error

    async def note(self, line: AuditLine) -> None:
        """Append the line."""
        await self.tasks.connection.execute(append_line(line))


class PostgresAccounts:
    """The ports AccountStore and AccountDesk."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._database = PostgresDatabase(engine)
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def register(
        self, account: Account, email_key: str, password_hash: str, session: NewSession, line: AuditLine
    ) -> bool:
        """Insert account, family and token; False when the e-mail key is taken."""
        values = account_row(account) | {"email_key": email_key, "password_hash": password_hash}
        return await self._one(_REGISTER, values | _session_row(session) | line_values(line)) is not None

    async def credentials(self, email_key: str) -> tuple[Account, str] | None:
        """Read an account and its password hash."""
        row = await self._one(
            select(users).where(users.c.email_key == email_key, users.c.disabled_at.is_(None))
        )
        return None if row is None else (account_of(row), row["password_hash"])

    async def keep_password(self, user_id: UUID, old_hash: str, new_hash: str) -> None:
        """Put a stronger hash of the same password in the place of the old one."""
        await self._one(
            update(users)
            .where(users.c.id == user_id, users.c.password_hash == old_hash)
            .values(password_hash=new_hash)
            .returning(users.c.id)
        )

    async def revoked_since(self, since: datetime) -> Sequence[UUID]:
        """Read the families revoked since then."""
        family = session_families.c
        with storage_errors():
            async with self._engine.connect() as connection:
                rows = await connection.execute(select(family.id).where(family.revoked_at >= since))
                return [row.id for row in rows]

    async def accounts(self, email: str | None, after: Position | None, limit: int) -> Sequence[Managed]:
        """Read accounts whose address holds `email`, the newest first."""
        query = select(users).order_by(users.c.created_at.desc(), users.c.id.desc()).limit(limit)
        if email is not None:
            query = query.where(users.c.email_key.contains(email.lower(), autoescape=True))
        if after is not None:
            query = query.where(
                tuple_(users.c.created_at, users.c.id) < tuple_(literal(after.key), literal(after.id))
            )
        with storage_errors():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(query)).mappings().all()
        return [Managed(account_of(row), row["disabled_at"]) for row in rows]

    async def managed(self, user_id: UUID) -> Managed | None:
        """Read one account."""
        row = await self._one(select(users).where(users.c.id == user_id))
        return None if row is None else Managed(account_of(row), row["disabled_at"])

    async def manage(
        self, user_id: UUID, role: str | None, disabled: bool | None, line: AuditLine
    ) -> tuple[Managed, Sequence[UUID]] | None:
        """Write what is not None, revoke the sessions and append the line, together. Raises AccountErased."""
        at = line.at
        values: dict[str, Any] = {"updated_at": at}
        if role is not None:
            values["role"] = role
        if disabled is not None:
            values["disabled_at"] = func.coalesce(users.c.disabled_at, at) if disabled else None
        async with self._database.begin() as work:
            changed = update(users).where(users.c.id == user_id).values(values).returning(users)
            row = (await work.connection.execute(changed)).mappings().one_or_none()
            if row is None:
                return None
            if disabled is False and row["erase_requested_at"] is not None:
                # Asked of the row as it is locked; what was written is rolled back.
                raise AccountErased("the account is being erased: it cannot be enabled again")
            family = session_families
            ended = await work.connection.execute(
                update(family)
                .where(family.c.user_id == user_id, family.c.revoked_at.is_(None))
                .values(revoked_at=at)
                .returning(family.c.id)
            )
            await work.connection.execute(append_line(line))
            return Managed(account_of(row), row["disabled_at"]), [one.id for one in ended]

    async def open_session(self, user_id: UUID, session: NewSession, line: AuditLine) -> Account | None:
        """Insert a family and its first token; the account as it is now, None when it is shut or gone."""
        values = _session_row(session) | {"user_id": user_id} | line_values(line)
        row = await self._one(_OPEN_SESSION, values)
        return None if row is None else account_of(row)

    async def rotate(
        self, old_hash: bytes, new_hash: bytes, expires_at: datetime, line: AuditLine
    ) -> Rotated | None:
        """Use up a token and insert its follower; None when it is not good."""
        values = {"token_hash": old_hash, "new_hash": new_hash, "expires_at": expires_at}
        row = await self._one(_ROTATE, values | line_values(line))
        return None if row is None else Rotated(account_of(row), row["family_id"])

    async def revoke_reused(self, token_hash: bytes, line: AuditLine) -> UUID | None:
        """Revoke the family of a token that was used before."""
        row = await self._one(_REVOKE_REUSED, {"token_hash": token_hash} | line_values(line))
        return None if row is None else row["id"]

    async def revoke(self, user_id: UUID, family_id: UUID, line: AuditLine) -> None:
        """Revoke a family of this user."""
        family = session_families
        async with self._database.begin() as work:
            await work.connection.execute(
                update(family)
                .where(family.c.id == family_id, family.c.user_id == user_id, family.c.revoked_at.is_(None))
                .values(revoked_at=line.at)
            )
            await work.connection.execute(append_line(line))

    async def is_revoked(self, family_id: UUID) -> bool:
        """Whether a family is revoked, or gone."""
        row = await self._one(select(session_families.c.revoked_at).where(session_families.c.id == family_id))
        return row is None or row["revoked_at"] is not None

    async def account(self, user_id: UUID) -> Account | None:
        """Read an account."""
        row = await self._one(select(users).where(users.c.id == user_id))
        return None if row is None else account_of(row)

    @asynccontextmanager
    async def hold(self, user_id: UUID) -> AsyncIterator[HeldAccount | None]:
        """Lock an account's row in a unit of work; None when there is no such account."""
        async with self._database.begin() as work:
            query = select(users).where(users.c.id == user_id).with_for_update(key_share=True)
            row = (await work.connection.execute(query)).mappings().one_or_none()
            yield None if row is None else HeldAccount(account_of(row), work)

    async def _one(self, statement: Any, values: dict[str, Any] | None = None) -> Row | None:
        with storage_errors():
            async with self._engine.connect() as connection:
                return (await connection.execute(statement, values or {})).mappings().one_or_none()


def _session_row(session: NewSession) -> dict[str, Any]:
    return {
        "family_id": session.family_id,
        "token_hash": session.token_hash,
        "expires_at": session.expires_at,
    }
