"""Series: the rule and the policies that several tasks come from."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from event_contracts.rrule import TaskRRuleText
from event_contracts.series import Anchor, DstGap, MonthEnd, Overdue, PileUp
from event_contracts.values import TaskStatus, Zone
from service_kit.auth import Principal
from task_api.application import edit_series as commands
from task_api.application.edit_series import SeriesEdit, SeriesView
from task_api.application.ports import Means
from task_api.entrypoints.http.callers import Callers, actor_of
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.fields import Answer, Body, Exdates
from task_api.entrypoints.http.preconditions import Expected, etag
from task_api.entrypoints.http.task_answers import RecurrenceAnswer, json_answer, recurrence_answer
from task_api.entrypoints.http.undo_tokens import UndoTokens

_ONE = "/api/v1/series/{series_id}"
_EXAMPLES = [
    {"rrule": "FREQ=WEEKLY;BYDAY=TU,FR"},
    {"month_end": "skip", "overdue": "catch_up"},
    {"exdates": ["2026-12-25", "2027-01-01"]},
]

_NO_POLICIES = {"rrule", "timezone", "exdates"}


class SeriesPatch(Body, json_schema_extra={"examples": _EXAMPLES}):
    """What is to change of a series: a field that is absent stays. `exdates` are all slots that are left out from now
    on, in the form of the series' `occurrence_key`s."""

    # The defaults stand for "absent" and are never read: what counts is which fields the body named.
    rrule: TaskRRuleText = "FREQ=DAILY"
    anchor: Anchor = Anchor.SCHEDULE
    month_end: MonthEnd = MonthEnd.CLAMP
    overdue: Overdue = Overdue.NEXT_FUTURE
    dst_gap: DstGap = DstGap.FORWARD
    pile_up: PileUp = PileUp.WAIT
    timezone: Zone = "UTC"
    exdates: Exdates = ()

    def edit(self) -> SeriesEdit:
        """Give what is to change."""
        named = self.model_fields_set
        return SeriesEdit(
            rrule=self.rrule if "rrule" in named else None,
            policies={name: getattr(self, name) for name in named - _NO_POLICIES},
            timezone=self.timezone if "timezone" in named else None,
            exdates=self.exdates if "exdates" in named else None,
        )


class TipAnswer(Answer):
    """The newest instance of a series."""

    id: UUID
    occurrence_key: str
    status: TaskStatus


class SeriesAnswer(Answer):
    """A series as it stands. `start` is its first slot in local time; `exdates` are slots that are left out."""

    id: UUID
    version: int
    recurrence: RecurrenceAnswer
    timezone: str
    start: str
    exdates: tuple[str, ...]
    paused_at: datetime | None
    resumed_at: datetime | None
    ended_at: datetime | None
    created_at: datetime
    updated_at: datetime
    newest: TipAnswer | None


def _answer(view: SeriesView, undo: UndoTokens) -> Response:
    series, tip = view.series, view.tip
    newest = None
    if tip is not None and tip.occurrence_key is not None:
        newest = TipAnswer(id=tip.id, occurrence_key=tip.occurrence_key, status=tip.status)
    body = SeriesAnswer(
        id=series.id,
        version=series.version,
        recurrence=recurrence_answer(series.recurrence),
        timezone=series.timezone,
        start=series.start,
        exdates=series.exdates,
        paused_at=series.paused_at,
        resumed_at=series.resumed_at,
        ended_at=series.ended_at,
        created_at=series.created_at,
        updated_at=series.updated_at,
        newest=newest,
    )
    headers = {"ETag": etag(series.version)} | undo.header(series.user_id, view.change_id)
    return json_answer(body, 200, headers)


def series_routes(callers: Callers, means: Means, undo: UndoTokens) -> APIRouter:
    """Give the routes under /api/v1/series."""
    router = APIRouter(tags=["series"])
    Writer = Annotated[Principal, Depends(callers.write)]  # noqa: N806 - a type
    errors = problems(401, 404, 409, 422)

    @router.get(_ONE, response_model=SeriesAnswer, responses=problems(401, 404, 422))
    async def read(series_id: UUID, principal: Annotated[Principal, Depends(callers.read)]) -> Response:
        """One series."""
        return _answer(await commands.read_series(means, principal.user_id, series_id), undo)

    @router.patch(_ONE, response_model=SeriesAnswer, responses=problems(400, 401, 404, 409, 412, 422))
    async def change(series_id: UUID, body: SeriesPatch, principal: Writer, expected: Expected) -> Response:
        """Change rule, policies, zone or left out slots, from the open instance on; it keeps its date, and the past
        stays."""
        actor = actor_of(principal)
        view = await commands.edit_series(means, actor, principal.user_id, series_id, body.edit(), expected)
        return _answer(view, undo)

    @router.post(f"{_ONE}/pause", response_model=SeriesAnswer, responses=errors)
    async def pause(series_id: UUID, principal: Writer) -> Response:
        """Let no further instances come until it is resumed; the open one stays."""
        view = await commands.pause_series(means, actor_of(principal), principal.user_id, series_id)
        return _answer(view, undo)

    @router.post(f"{_ONE}/resume", response_model=SeriesAnswer, responses=errors)
    async def resume(series_id: UUID, principal: Writer) -> Response:
        """Go on after a pause; what fell into it is not made up for."""
        view = await commands.resume_series(means, actor_of(principal), principal.user_id, series_id)
        return _answer(view, undo)

    @router.delete(_ONE, response_model=SeriesAnswer, responses=errors)
    async def end(series_id: UUID, principal: Writer) -> Response:
        """End a series: no further instances come, and its tasks stay as they are."""
        view = await commands.end_series(means, actor_of(principal), principal.user_id, series_id)
        return _answer(view, undo)

    return router
