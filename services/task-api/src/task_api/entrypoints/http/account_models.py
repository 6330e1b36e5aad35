"""The bodies of the auth and profile routes."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, EmailStr, Field, StringConstraints, WithJsonSchema

from event_contracts.values import WallTime, Zone
from task_api.application.sessions import Session
from task_api.domain.account import PASSWORD_MAX, Account
from task_api.entrypoints.http.fields import STORABLE, Answer, Body, Offset, Plain

_NAME_MAX = 100
_EMAIL_MAX = 254

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=_NAME_MAX), STORABLE]
Locale = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$"), Field(examples=["de-DE"])
]

# The format "time" of OpenAPI is a time with an offset (RFC 3339), which this is not.
DayStart = Annotated[
    WallTime,
    WithJsonSchema(
        {"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$", "examples": ["09:00"]}
    ),
]


def _short(email: str) -> str:
    if len(email) > _EMAIL_MAX:
        raise ValueError(f"is longer than {_EMAIL_MAX} characters")
    return email


Email = Annotated[EmailStr, AfterValidator(_short), Field(examples=["ada@example.org"])]
Password = Annotated[
    str,
    StringConstraints(min_length=1, max_length=PASSWORD_MAX),
    Field(examples=["correct horse battery staple"]),
]


class RegisterBody(
    Body,
    json_schema_extra={
        "examples": [
            {
                "email": "ada@example.org",
                "password": "correct horse battery staple",
                "timezone": "Europe/Berlin",
            }
        ]
    },
):
    """An account to be made. The password has 12 characters, or 8 of all four kinds."""

    email: Email
    password: Password
    first_name: Name | None = None
    last_name: Name | None = None
    timezone: Zone = "UTC"


class LoginBody(
    Body,
    json_schema_extra={
        "examples": [{"email": "ada@example.org", "password": "correct horse battery staple"}]
    },
):
    """E-mail address and password. The address is not checked for its form: a wrong one is just a wrong one."""

    email: Annotated[Plain, StringConstraints(max_length=_EMAIL_MAX)]
    password: Password


class RefreshBody(Body, json_schema_extra={"examples": [{"refresh_token": "tsr_…"}]}):
    """The refresh token of the last answer; it is good for one use."""

    refresh_token: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ProfilePatch(
    Body,
    json_schema_extra={
        "examples": [{"timezone": "Europe/Berlin", "day_start": "08:00", "default_reminder": "PT15M"}]
    },
):
    """What is to change: a field that is absent stays, null clears names and the default reminder."""

    # The defaults stand for "absent" and are never read: what counts is which fields the body named.
    email: Email = ""
    first_name: Name | None = None
    last_name: Name | None = None
    timezone: Zone = "UTC"
    day_start: DayStart = time(9)
    locale: Locale = "en"
    default_reminder: Offset | None = None

    def fields(self) -> dict[str, Any]:
        """Give the named fields with their values."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class ProfileAnswer(Answer):
    """An account as its owner sees it. All-day tasks are due at `day_start`; new tasks get `default_reminder`."""

    id: UUID
    email: str
    first_name: str | None
    last_name: str | None
    timezone: str
    day_start: DayStart
    locale: str
    default_reminder: timedelta | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, account: Account) -> ProfileAnswer:
        """Give an account as it is shown."""
        return cls.model_validate(account)


class SessionAnswer(Answer):
    """A session. The access token is sent as `Authorization: Bearer`; `expires_in` is its lifetime in seconds."""

    user: ProfileAnswer
    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind of token
    expires_in: int

    @classmethod
    def of(cls, session: Session) -> SessionAnswer:
        """Give a session as it is handed out."""
        return cls(
            user=ProfileAnswer.of(session.account),
            access_token=session.access_token,
            refresh_token=session.refresh_token,
            expires_in=session.expires_in,
        )
