"""Read the document of GET /api/v1/users/me/export."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from event_contracts.values import LocalMoment, Zone
from task_api.application.import_tasks import Place, SeriesDraft
from task_api.entrypoints.http.fields import Exdates, Instant
from task_api.entrypoints.http.import_items import (
    ITEMS_MAX,
    ImportItem,
    Reading,
    UnreadableFile,
    too_many_tasks,
)
from task_api.entrypoints.http.people_data import FORMAT, FORMAT_VERSION
from task_api.entrypoints.http.task_models import RecurrenceBody, ReminderBody

_POLICIES = ("rrule", "anchor", "month_end", "overdue", "dst_gap", "pile_up")


class _Document(BaseModel):
    """The sections that are taken; the others are what this service noted, and are not carried over."""

    model_config = ConfigDict(frozen=True)

    format: str
    version: int
    series: list[dict[str, Any]] = Field(default_factory=list)
    tasks: list[dict[str, Any]] = Field(default_factory=list)
    reminders: list[dict[str, Any]] = Field(default_factory=list)


class _Series(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: UUID
    recurrence: RecurrenceBody
    timezone: Zone
    start_local: LocalMoment
    exdates: Exdates = ()
    paused_at: Instant | None = None
    resumed_at: Instant | None = None
    ended_at: Instant | None = None

    def draft(self) -> SeriesDraft:
        return SeriesDraft(
            key=f"series:{self.id}",
            recurrence=self.recurrence.recurrence(),
            timezone=self.timezone,
            start=self.start_local,
            exdates=self.exdates,
            paused_at=self.paused_at,
            resumed_at=self.resumed_at,
            ended_at=self.ended_at,
        )


class _Task(BaseModel):
    """Of a task's row what is not a field of an item."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    series_id: UUID | None = None
    occurrence_key: LocalMoment | None = None
    predecessor_task_id: UUID | None = None


def read_export(body: bytes, zone: str, now: datetime) -> Reading:
    """Read an export. Raises UnreadableFile."""
    try:
        document = _Document.model_validate(orjson.loads(body))
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise UnreadableFile("it is not the JSON document of an export") from error
    if (document.format, document.version) != (FORMAT, FORMAT_VERSION):
        raise UnreadableFile(f"it is not a {FORMAT} document of version {FORMAT_VERSION}")
    if max(len(document.tasks), len(document.series)) > ITEMS_MAX:
        raise too_many_tasks()
    reading = Reading()
    series = _series(document, reading)
    reminders: dict[str, list[dict[str, Any]]] = {}
    for row in document.reminders:
        shown = {name: row[name] for name in ReminderBody.model_fields if row.get(name) is not None}
        reminders.setdefault(str(row.get("task_id")), []).append(shown)
    for number, row in enumerate(document.tasks):
        item = str(row.get("id", f"tasks.{number}"))
        try:
            known = _Task.model_validate(row)
        except ValidationError as error:
            reading.refuse(item, error)
            continue
        fields = {name: row[name] for name in ImportItem.model_fields if row.get(name) is not None}
        fields["reminders"] = reminders.get(str(row["id"]), [])
        place = None
        if known.series_id is not None and known.occurrence_key is not None:
            its_series = series.get(known.series_id)
            if its_series is None:
                reading.warn(item, "Its series is not in the file: it comes as a task that does not recur.")
            else:
                before = known.predecessor_task_id
                place = Place(its_series, known.occurrence_key, None if before is None else f"task:{before}")
        reading.add(item, f"task:{known.id}", fields, known.id, place)
    return reading


def _series(document: _Document, reading: Reading) -> dict[UUID, SeriesDraft]:
    found: dict[UUID, SeriesDraft] = {}
    for number, row in enumerate(document.series):
        recurrence = {name: row[name] for name in _POLICIES if name in row}
        try:
            one = _Series.model_validate({**row, "recurrence": recurrence})
        except ValidationError as error:
            reading.refuse(str(row.get("id", f"series.{number}")), error)
        else:
            found[one.id] = one.draft()
    return found
