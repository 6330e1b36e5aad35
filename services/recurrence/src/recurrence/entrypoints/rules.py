"""Rules over HTTP: what a rule would give. Nothing of a user is read, yet only users may ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from event_contracts.rrule import TEXT_MAX, RuleError
from event_contracts.series import EXDATES_MAX, Anchor, DstGap, MonthEnd, Overdue, PileUp, RecurrencePolicies
from event_contracts.values import LocalMoment, UtcInstant, WallTime, Zone, parse_local
from recurrence.application.preview import preview, sentence_of
from recurrence.domain.occurrences import OCCURRENCES_MAX
from recurrence.domain.phrases import PHRASE_MAX, Phrase, PhraseError, read_phrase
from recurrence.domain.series import Series
from service_kit.auth import Principal
from service_kit.problems import FieldError, Problem

_YEARS = range(1900, 9001)
_POLICIES = ("anchor", "month_end", "overdue", "dst_gap", "pile_up")


def _within_years(text: str) -> str:
    if parse_local(text).year not in _YEARS:
        raise ValueError(f"is outside the years {_YEARS[0]} to {_YEARS[-1]}")
    return text


Moment = Annotated[LocalMoment, AfterValidator(_within_years)]


class PreviewBody(BaseModel):
    """A rule with its start: a local date for an all-day series, a local date-time for a timed one. `exdates` are slots
    of the same form that are left out."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "rrule": "FREQ=MONTHLY;BYMONTHDAY=31",
                    "start": "2026-03-31T09:00:00",
                    "timezone": "Europe/Berlin",
                    "count": 3,
                }
            ]
        },
    )

    rrule: str = Field(max_length=TEXT_MAX + len("RRULE:"))
    start: Moment
    timezone: Zone
    anchor: Anchor = Anchor.SCHEDULE
    month_end: MonthEnd = MonthEnd.CLAMP
    overdue: Overdue = Overdue.NEXT_FUTURE
    dst_gap: DstGap = DstGap.FORWARD
    pile_up: PileUp = PileUp.WAIT
    count: int = Field(default=10, ge=1, le=OCCURRENCES_MAX)
    after: Moment | None = None
    exdates: tuple[Moment, ...] = Field(default=(), max_length=EXDATES_MAX)

    def series(self) -> Series:
        """The series that is asked about. Raises Problem 422 that points at what is at fault."""
        policies = RecurrencePolicies.model_validate(self.model_dump(include=set(_POLICIES)))
        _check_form(self.exdates, self.start)
        try:
            return Series.read(self.rrule, self.start, self.timezone, policies, self.exdates)
        except RuleError as error:
            raise _bad_rule(error) from error


class OccurrenceAnswer(BaseModel):
    """One date. `occurrence_key` is its slot before any adjustment, `local` and `utc` are after it."""

    local: datetime | date
    utc: UtcInstant
    occurrence_key: str
    adjusted: str | None


class PreviewAnswer(BaseModel):
    """Fewer occurrences than asked for when the rule ends, or was given up: then a warning says so."""

    occurrences: list[OccurrenceAnswer]
    text: str
    warnings: list[str]


class ParseBody(BaseModel):
    """A recurrence in English words."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"text": "every 2nd weekday of the month at 9"}]},
    )

    text: str = Field(min_length=1, max_length=PHRASE_MAX)


class ParseAnswer(BaseModel):
    """The rule, the time of day for its start when one was said, and the rule told back."""

    rrule: str
    time: WallTime | None
    text: str


def answer_to(body: PreviewBody) -> PreviewAnswer:
    """Give the preview that is asked for. Raises Problem 422."""
    found = preview(body.series(), body.count, body.after)
    return PreviewAnswer(
        occurrences=[
            OccurrenceAnswer(local=one.local, utc=one.utc, occurrence_key=one.key, adjusted=one.adjusted)
            for one in found.occurrences
        ],
        text=found.text,
        warnings=list(found.warnings),
    )


def _check_form(exdates: tuple[str, ...], start: str) -> None:
    for number, slot in enumerate(exdates):
        if len(slot) != len(start):
            wrong = FieldError(f"exdates.{number}", "is not of the form of the start", "exdates")
            raise Problem(422, "invalid_exdates", f"{slot} would leave out nothing.", errors=[wrong])


def _bad_rule(error: RuleError) -> Problem:
    wrong = FieldError(f"rrule.{error.part}", error.message, "rrule")
    return Problem(422, "invalid_rule", f"{error.part}: {error.message}", errors=[wrong])


def _read(text: str) -> Phrase:
    try:
        return read_phrase(text)
    except PhraseError as error:
        wrong = FieldError("text", f"{error.words!r} was not understood", "phrase")
        raise Problem(
            422, "not_understood", "These words are not clearly one rule.", errors=[wrong]
        ) from error
    except RuleError as error:
        wrong = FieldError("text", error.message, "rrule")
        raise Problem(422, "invalid_rule", f"{error.part}: {error.message}", errors=[wrong]) from error


def rule_routes(principal: Callable[..., Awaitable[Principal]]) -> APIRouter:
    """Give the routes under /api/v1/recurrence. They run in threads: a rule may take some 50 ms of work."""
    routes = APIRouter(prefix="/api/v1/recurrence", tags=["recurrence"], dependencies=[Depends(principal)])

    @routes.post("/preview", summary="The dates that a rule gives")
    def preview_rule(body: PreviewBody) -> PreviewAnswer:
        return answer_to(body)

    @routes.post("/parse", summary="A rule from words")
    def parse_words(body: ParseBody) -> ParseAnswer:
        phrase = _read(body.text)
        return ParseAnswer(rrule=str(phrase.rule), time=phrase.at, text=sentence_of(phrase.rule, phrase.at))

    return routes
