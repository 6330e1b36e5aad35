"""The types of fields that several bodies share."""

from __future__ import annotations

import re
from datetime import date, timedelta
from math import isfinite
from typing import Annotated, Any

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    StringConstraints,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from event_contracts.series import EXDATES_MAX
from event_contracts.tasks import DESCRIPTION_MAX, TAGS_MAX, TITLE_MAX, ReminderOffset
from event_contracts.values import LocalMoment, UtcInstant, parse_local

METADATA_MAX_BYTES = 16 * 1024
_BEGINS_WITH_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
TAG_MAX = 50
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_DURATION = re.compile(
    r"P(?=.)(?:\d{1,4}W|(?:\d{1,4}D)?(?:T(?=.)(?:\d{1,5}H)?(?:\d{1,6}M)?(?:\d{1,8}S)?)?)", re.ASCII
)


FIELDS_MAX = 100
"""No body has as many fields. Each unknown one is told by name, which for a hundred thousand takes seconds."""


class Body(BaseModel):
    """A request's body: a field it does not know is an error, not a wish that is silently lost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, body: Any) -> Any:
        if isinstance(body, dict) and len(body) > FIELDS_MAX:
            raise ValueError(f"has more than {FIELDS_MAX} fields")
        return body


class Answer(BaseModel):
    """A response's body."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("holds a NUL character")
    return text


class _Storable:
    """Refuses what PostgreSQL cannot keep, and says so in the API's document."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_storable, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": r"^[^\x00]*$"}


STORABLE = _Storable()
"""To be put last: constraints after it would see what it gives, and not strip before they count."""
Plain = Annotated[str, STORABLE]

Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_MAX),
    STORABLE,
]
Description = Annotated[str, StringConstraints(max_length=DESCRIPTION_MAX), STORABLE]
Tag = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TAG_MAX),
    STORABLE,
]


def at_most(most: int) -> BeforeValidator:
    """Give the bound of a list that is asked before its items are: else each wrong one is told, however many."""

    def few(value: object) -> object:
        if isinstance(value, list | tuple) and len(value) > most:
            told = {"field_type": "List", "max_length": most, "actual_length": len(value)}
            raise PydanticKnownError("too_long", told)
        return value

    return BeforeValidator(few)


def _once_each(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


Tags = Annotated[tuple[Tag, ...], Field(max_length=TAGS_MAX), AfterValidator(_once_each), at_most(TAGS_MAX)]


def in_reach(moment: Any) -> Any:
    """Give a date or date-time of a year that can be kept. Raises ValueError for another."""
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"is outside the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment


def _written(value: object) -> object:
    # A number, in text too, would be read as seconds since 1970, and as something else by whoever meant milliseconds.
    written = _BEGINS_WITH_DATE.match(value) if isinstance(value, str) else isinstance(value, date)
    if not written:
        raise ValueError("write it as text (RFC 3339)")
    return value


Instant = Annotated[UtcInstant, BeforeValidator(_written), AfterValidator(in_reach)]
Day = Annotated[date, BeforeValidator(_written), AfterValidator(in_reach)]


def _slot_in_reach(text: str) -> str:
    in_reach(parse_local(text))
    return text


def _in_order(slots: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(slots)))


Exdates = Annotated[
    tuple[Annotated[LocalMoment, AfterValidator(_slot_in_reach)], ...],
    Field(max_length=EXDATES_MAX),
    AfterValidator(_in_order),
    at_most(EXDATES_MAX),
]
"""Slots that are left out, by the keys that their occurrences would have: `YYYY-MM-DD` or `YYYY-MM-DDTHH:MM:SS`."""


def iso_duration(value: object) -> object:
    """Let text be an ISO 8601 duration of fixed length, and nothing else. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError(
            "write it as an ISO 8601 duration of weeks, days, hours, minutes or seconds, like PT30M"
        )
    return value


Offset = Annotated[ReminderOffset, BeforeValidator(iso_duration), Field(examples=["PT30M"])]
"""Time before due: `PT30M`, `P1D`, `P1DT2H`; months and years have no fixed length and are not taken."""


def _finite(value: JsonValue) -> bool:
    """Whether no number in it is NaN or infinite, 1e999 included: these are written as null."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or isfinite(value)


def _small(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        encoded = orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"cannot be kept as JSON: {error}") from error
    if b"null" in encoded and not _finite(value):
        raise ValueError("cannot be kept as JSON: it holds a number that is none, or too large")
    if len(encoded) > METADATA_MAX_BYTES:
        raise ValueError(f"is larger than {METADATA_MAX_BYTES // 1024} KiB as JSON")
    if _NUL.search(encoded):
        raise ValueError("holds a NUL character")
    return value


Metadata = Annotated[dict[str, JsonValue], AfterValidator(_small)]
