"""Value types that several payloads share. Pure data: pydantic and the standard library alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer


class Payload(BaseModel):
    """A frozen value object on the wire. Unknown fields are ignored: inside a version only additions happen."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _to_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


UtcInstant = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""An instant: read with any offset, kept and written in UTC, RFC 3339 with `Z`, microseconds at the finest."""


def _write_time(value: time) -> str:
    return value.strftime("%H:%M:%S") if value.second else value.strftime("%H:%M")


def _plain_time(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("a wall-clock time has no offset: write 09:00")
    return value.replace(microsecond=0)


WallTime = Annotated[
    time, AfterValidator(_plain_time), PlainSerializer(_write_time, return_type=str, when_used="json")
]
"""A wall-clock time of day in the task's zone, written `HH:MM`."""

_ZONES = frozenset(available_timezones())


def _known_zone(name: str) -> str:
    if name not in _ZONES:
        raise ValueError(f"{name!r} is not an IANA time zone: write a name like Europe/Berlin")
    return name


Zone = Annotated[str, Field(max_length=64, examples=["Europe/Berlin"]), AfterValidator(_known_zone)]
"""An IANA time zone name; the set is the machine's tz database, or that of the tzdata package."""


def parse_local(text: str) -> date | datetime:
    """Read an occurrence key or a local start: `YYYY-MM-DD` gives a date, `YYYY-MM-DDTHH:MM:SS` a naive datetime.

    Raises ValueError for every other form, also for those that `fromisoformat` would take.
    """
    parsed: date | datetime = date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    if _local_form(parsed) != text:
        raise ValueError(f"{text!r} is neither YYYY-MM-DD nor YYYY-MM-DDTHH:MM:SS")
    return parsed


def _local_form(moment: date | datetime) -> str:
    return moment.isoformat(timespec="seconds") if isinstance(moment, datetime) else moment.isoformat()


def _local_text(text: str) -> str:
    parse_local(text)
    return text


LocalMoment = Annotated[str, AfterValidator(_local_text)]
"""A local wall-clock date or date-time without zone, as text; its length says whether it is all-day or timed."""

OccurrenceKey = LocalMoment
"""A slot on a series' grid before any adjustment. Keys of one series have one form, so text order is time order."""


class TaskStatus(StrEnum):
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class Priority(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


class ClosedBy(StrEnum):
    """Why a task is no longer open. Only `completed` and `skipped` have a successor in a series."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"


class Channel(StrEnum):
    """A way to the person. The inbox is always there; the others are the person's choice."""

    INBOX = "inbox"
    EMAIL = "email"
    WEBHOOK = "webhook"
    CHAT = "chat"
    PUSH = "push"


CHAT_SCHEMES = frozenset(
    {
        "discord",
        "gchat",
        "gotify",
        "gotifys",
        "matrix",
        "matrixs",
        "mmost",
        "mmosts",
        "nctalk",
        "nctalks",
        "ntfy",
        "ntfys",
        "pover",
        "rocket",
        "rockets",
        "signal",
        "signals",
        "slack",
        "tgram",
        "workflows",
        "wxteams",
        "zulip",
    }
)
"""The chat services that people can name, by their scheme in Apprise's addresses: what task-api accepts and notifier
sends to. Apprise knows other schemes, which read files and run commands."""


class LatePolicy(StrEnum):
    """What becomes of a notification that could not go out in time, or whose time lay in quiet hours."""

    SEND = "send"
    DIGEST = "digest"
    DROP_AFTER = "drop_after"


class ActorKind(StrEnum):
    USER = "user"
    ADMIN = "admin"
    API_KEY = "api_key"
    SERVICE = "service"


class Actor(Payload):
    """Who did it: a user's, admin's or key's id, or a service's name."""

    kind: ActorKind
    id: str
