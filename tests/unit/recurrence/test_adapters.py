"""What goes over the wire, and what is kept under which key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.unit.recurrence.conftest import (
    MONDAY,
    NEXT_MONDAY,
    NOW,
    USER,
    closed,
    instance_of,
    series_of,
    tip_of,
)

from event_contracts.envelope import derive_id
from event_contracts.recurrence import GenerationReason, RecurringTaskGenerated
from event_contracts.series import Anchor, MonthEnd, RecurrencePolicies
from event_contracts.topics import TOPICS
from recurrence.adapters.dapr_documents import DaprDocuments
from recurrence.adapters.redis_checks import RedisChecks
from recurrence.adapters.sidecar_publisher import SidecarPublisher
from recurrence.adapters.sidecar_task_api import SidecarTaskApi
from recurrence.application.errors import DocumentWriteFailed, TaskApiAway
from recurrence.application.reading import known, position_of
from recurrence.domain.checks import Check
from service_kit.sidecar import Answer, SidecarUnavailable
from service_kit.telemetry import bind_correlation_id
from service_kit.testing.fakes import InMemoryDueIndex, InMemoryStateStore, ManualClock, RecordingSidecar


def proposal(**fields: object) -> RecurringTaskGenerated:
    return RecurringTaskGenerated.model_validate(
        {
            "series_id": uuid4(),
            "series_version": 3,
            "user_id": USER,
            "predecessor_task_id": uuid4(),
            "predecessor_closed_version": 2,
            "occurrence_key": NEXT_MONDAY,
            "due_at": NOW,
            "timezone": "Europe/Berlin",
            "why": GenerationReason.COMPLETED,
            "sentence": "Because.",
            "generated_at": NOW,
        }
        | fields
    )


async def test_a_proposal_is_an_event_of_the_registry_keyed_by_its_series() -> None:
    sidecar = RecordingSidecar()
    data = proposal()
    with bind_correlation_id("abc"):
        await SidecarPublisher(sidecar).occurrence_generated(data)
    (sent,) = sidecar.published
    assert (sent.topic, sent.key) == ("recurring-task-generated", str(data.series_id))
    event = TOPICS[sent.topic].event_model.model_validate_json(sent.event)
    assert event.data == data
    assert event.source == "/recurrence"
    assert event.subject == str(data.series_id)
    assert event.correlationid == "abc"


async def test_one_proposal_has_one_id_whatever_asked_for_it_and_another_slot_another() -> None:
    sidecar = RecordingSidecar()
    publisher = SidecarPublisher(sidecar)
    data = proposal()
    repaired = data.model_copy(
        update={"why": GenerationReason.REPAIR, "generated_at": NOW + timedelta(hours=1)}
    )
    for one in (data, repaired, data.model_copy(update={"occurrence_key": MONDAY})):
        await publisher.occurrence_generated(one)
    first, second, third = (one.json["id"] for one in sidecar.published)
    assert first == second != third
    assert first == str(derive_id(data.series_id, data.predecessor_task_id, 2, 3, NEXT_MONDAY))


async def test_documents_read_back_what_was_written() -> None:
    documents = DaprDocuments(InMemoryStateStore())
    series = series_of(
        exdates=(MONDAY,),
        paused=True,
        resumed_at=NOW,
        policies=RecurrencePolicies(anchor=Anchor.COMPLETION, month_end=MonthEnd.SKIP),
    )
    done = closed(instance_of(series), 2)
    kept = known(series.model_copy(update={"tip": tip_of(done)}))
    position = position_of(done)
    assert position is not None
    await documents.put_series("g", kept, None)
    await documents.put_task("g", position, None)
    found = await documents.read("g", task_id=done.task_id, series_id=series.series_id, user_id=USER)
    assert found.series is not None
    assert found.task is not None
    assert (found.series.value, found.task.value) == (kept, position)
    other = await documents.read("h", task_id=done.task_id, series_id=series.series_id, user_id=USER)
    assert (other.series, other.task, other.user_is_erased) == (None, None, False)


async def test_a_document_is_written_only_over_the_one_that_was_read() -> None:
    documents = DaprDocuments(InMemoryStateStore())
    position = position_of(instance_of(series_of()))
    assert position is not None
    await documents.put_task("g", position, None)
    with pytest.raises(DocumentWriteFailed):
        await documents.put_task("g", position, None)
    held = (
        await documents.read("g", task_id=position.task_id, series_id=position.series_id, user_id=USER)
    ).task
    await documents.put_task("g", position, held)
    with pytest.raises(DocumentWriteFailed):
        await documents.put_task("g", position, held)


async def test_documents_are_lean() -> None:
    store = InMemoryStateStore()
    position = position_of(closed(instance_of(series_of()), 2))
    assert position is not None
    await DaprDocuments(store).put_task("g", position, None)
    (document,) = store._documents.values()
    assert len(document.content) < 260


async def test_only_one_replica_begins_a_generation() -> None:
    store = InMemoryStateStore()
    first, second = DaprDocuments(store), DaprDocuments(store)
    begun = await first.begin_generation(1, "run")
    assert await second.generation() == begun
    assert not await second.is_complete(begun.name)
    await first.mark_complete(begun.name)
    await second.mark_complete(begun.name)
    assert await second.is_complete(begun.name)
    await first.renew_run_id(begun, "other")
    renewed = await second.generation()
    assert renewed is not None
    assert (renewed.name, renewed.run_id) == (begun.name, "other")


async def test_task_api_answers_are_read() -> None:
    sidecar = RecordingSidecar()
    task_api = SidecarTaskApi(sidecar)
    series = series_of()
    path = f"/internal/v1/series/{series.series_id}"
    assert await task_api.series(series.series_id) is None
    sidecar.on_invoke("task-api", path, json=series.model_dump(mode="json"))
    sidecar.on_invoke("task-api", "/internal/v1/epoch", json={"epoch": 7})
    assert await task_api.series(series.series_id) == series
    assert await task_api.epoch() == 7
    assert sidecar.invocations[-1] == ("task-api", "GET", "/internal/v1/epoch")


@pytest.mark.parametrize("status", [403, 409, 429])
async def test_an_answer_that_is_none_is_asked_for_again_later(status: int) -> None:
    sidecar = RecordingSidecar()
    series_id = uuid4()
    sidecar.on_invoke("task-api", f"/internal/v1/series/{series_id}", status=status, json={})
    with pytest.raises(TaskApiAway):
        await SidecarTaskApi(sidecar).series(series_id)


async def test_task_api_away_or_not_understood() -> None:
    sidecar = RecordingSidecar()
    task_api = SidecarTaskApi(sidecar)
    sidecar.on_invoke("task-api", "/internal/v1/epoch", json={"era": 1})
    with pytest.raises(TaskApiAway):
        await task_api.epoch()
    sidecar.unavailable = True
    with pytest.raises(TaskApiAway):
        await task_api.epoch()


async def test_pages_leave_out_what_cannot_be_read() -> None:
    sidecar = RecordingSidecar()
    series = series_of()
    sidecar.on_invoke(
        "task-api",
        "/internal/v1/snapshot",
        json={"items": [{"series_id": "?"}, series.model_dump(mode="json")], "next_cursor": None, "epoch": 1},
    )
    assert [list(page) async for page in SidecarTaskApi(sidecar).all_series()] == [[series]]


async def test_a_sweep_settles_gives_back_and_stops() -> None:
    clock = ManualClock(datetime(2025, 3, 24, tzinfo=UTC))
    index = InMemoryDueIndex(clock)
    checks = RedisChecks(index)
    settled, open_, failing = (Check(uuid4(), uuid4(), number) for number in (1, 2, 3))
    for check in (settled, open_, failing):
        await checks.expect(check, clock.instant)
        await checks.expect(check, clock.instant + timedelta(days=1))

    async def handler(check: Check, now: datetime) -> bool:
        assert now == clock.instant
        if check == failing:
            raise SidecarUnavailable("away")
        return check == settled

    await checks.sweep(handler)
    assert await index.depth() == 2
    seen: list[Check] = []

    async def settle(check: Check, _: datetime) -> bool:
        seen.append(check)
        return True

    clock.advance(timedelta(minutes=1))
    await checks.sweep(settle)
    assert seen == [failing]
    clock.advance(timedelta(hours=1))
    await checks.sweep(settle)
    assert seen == [failing, open_]
    assert await index.depth() == 0


class AskedSidecar(RecordingSidecar):
    """Remembers the parameters too."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, str | int]] = []

    async def invoke(self, app_id: str, method: str, path: str, **more: Any) -> Answer:
        self.asked.append(more["params"] or {})
        return await super().invoke(app_id, method, path, **more)


async def test_what_changed_since_an_instant_is_asked_for_with_it() -> None:
    sidecar = AskedSidecar()
    sidecar.on_invoke("task-api", "/internal/v1/snapshot", json={"items": [], "next_cursor": None})
    for since in (None, NOW):
        assert [page async for page in SidecarTaskApi(sidecar).all_series(since)] == [[]]
    assert [asked.get("since") for asked in sidecar.asked] == [None, "2025-03-24T08:05:00+00:00"]
