"""What task-api answers is understood; anything else is asked again later."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from tests.unit.notifier.samples import USER, contact, deleted, snapshot

from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API
from event_contracts.values import LatePolicy
from notifier.adapters.task_api import InvokedTaskApi
from notifier.application.await_task_api import AwaitTaskApi
from notifier.application.errors import TaskApiUnavailable
from notifier.domain.contact import Webhook
from notifier.domain.timing import QuietHours
from service_kit.sidecar import Answer
from service_kit.testing.fakes import RecordingSidecar

CONTACT_PATH = f"/internal/v1/users/{USER}/contact"
CONTACT = {
    "user_id": str(USER),
    "email": "ada@example.org",
    "first_name": "Ada",
    "locale": "en",
    "timezone": "Europe/Berlin",
    "channels": ["inbox", "email"],
    "phone": "a field of a later version",
}


class Watch:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def sidecar() -> RecordingSidecar:
    return RecordingSidecar()


async def test_a_task_and_none(sidecar: RecordingSidecar) -> None:
    task = snapshot()
    sidecar.on_invoke(TASK_API, f"/internal/v1/tasks/{task.task_id}", content=task.model_dump_json().encode())
    api = InvokedTaskApi(sidecar, remember=30)
    assert await api.task(task.task_id) == task
    assert await api.task(USER) is None


class _ManyTasks(RecordingSidecar):
    """A task-api that knows `tasks`, and gives many in one answer unless its status for that question is another."""

    def __init__(self, tasks: list[TaskSnapshot], status: int = 200) -> None:
        super().__init__()
        self.asked: list[int] = []
        self._tasks = {str(task.task_id): task for task in tasks}
        self._status = status
        for task in tasks:
            self.on_invoke(
                TASK_API, f"/internal/v1/tasks/{task.task_id}", content=task.model_dump_json().encode()
            )

    async def invoke(self, app_id: str, method: str, path: str, *, json: Any = None, **given: Any) -> Answer:
        if (method, path) != ("POST", "/internal/v1/tasks"):
            return await super().invoke(app_id, method, path, json=json, **given)
        self.asked.append(len(json["ids"]))
        found = [self._tasks[one].model_dump(mode="json") for one in json["ids"] if one in self._tasks]
        return Answer(self._status, orjson.dumps({"items": found}))


async def test_many_tasks_are_one_question_for_each_five_hundred() -> None:
    tasks = [snapshot(), deleted(snapshot())]
    sidecar = _ManyTasks(tasks)
    wanted = [tasks[0].task_id, *(uuid4() for _ in range(510)), tasks[1].task_id]
    assert await InvokedTaskApi(sidecar, remember=30).tasks(wanted) == tasks
    assert (sidecar.asked, sidecar.invocations) == ([500, 12], [])
    assert await InvokedTaskApi(sidecar, remember=30).tasks([]) == []
    assert len(sidecar.asked) == 2


@pytest.mark.parametrize("status", [404, 405])
async def test_an_older_task_api_is_asked_one_by_one(status: int) -> None:
    tasks = [snapshot() for _ in range(40)]
    sidecar = _ManyTasks(tasks, status)
    wanted = [*(task.task_id for task in tasks), uuid4()]
    assert await InvokedTaskApi(sidecar, remember=30).tasks(wanted) == tasks
    assert len(sidecar.invocations) == 41


@pytest.mark.parametrize("status", [400, 403, 422, 429, 500, 503])
async def test_every_other_answer_says_nothing_about_the_tasks(status: int) -> None:
    sidecar = _ManyTasks([snapshot()], status)
    with pytest.raises(TaskApiUnavailable):
        await InvokedTaskApi(sidecar, remember=30).tasks([USER])
    assert sidecar.invocations == []


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
async def test_every_other_answer_says_nothing_about_the_task(sidecar: RecordingSidecar, status: int) -> None:
    sidecar.on_invoke(TASK_API, f"/internal/v1/tasks/{USER}", status, json={})
    with pytest.raises(TaskApiUnavailable):
        await InvokedTaskApi(sidecar, remember=30).task(USER)


@pytest.mark.parametrize("content", [b"", b"<html>", b"{}", b'{"epoch": "one"}'])
async def test_an_answer_that_cannot_be_read_is_none(sidecar: RecordingSidecar, content: bytes) -> None:
    for path in (f"/internal/v1/tasks/{USER}", CONTACT_PATH, "/internal/v1/epoch"):
        sidecar.on_invoke(TASK_API, path, content=content)
    api = InvokedTaskApi(sidecar, remember=30)
    for call in (api.task(USER), api.contact(USER)):
        with pytest.raises(TaskApiUnavailable):
            await call
    with pytest.raises(TaskApiUnavailable):
        await api.epoch()


async def test_an_outage_is_an_outage(sidecar: RecordingSidecar) -> None:
    sidecar.unavailable = True
    with pytest.raises(TaskApiUnavailable):
        await InvokedTaskApi(sidecar, remember=30).task(USER)


async def test_an_address_is_remembered_for_a_while(sidecar: RecordingSidecar) -> None:
    sidecar.on_invoke(TASK_API, CONTACT_PATH, json=CONTACT)
    watch = Watch()
    api = InvokedTaskApi(sidecar, remember=30, elapsed=watch)
    assert await api.contact(USER) == contact(channels=tuple(contact().channels))
    sidecar.on_invoke(TASK_API, CONTACT_PATH, json=CONTACT | {"email": "ada@new.example"})
    watch.seconds = 29.9
    old = await api.contact(USER)
    assert old is not None
    assert old.email == "ada@example.org"
    assert len(sidecar.invocations) == 1
    watch.seconds = 30.0
    new = await api.contact(USER)
    assert new is not None
    assert new.email == "ada@new.example"


async def test_forgotten_means_asked_again(sidecar: RecordingSidecar) -> None:
    sidecar.on_invoke(TASK_API, CONTACT_PATH, json=CONTACT)
    api = InvokedTaskApi(sidecar, remember=30)
    await api.contact(USER)
    api.forget(USER)
    sidecar.on_invoke(TASK_API, CONTACT_PATH, 404, json={})
    assert await api.contact(USER) is None
    assert await api.contact(USER) is None
    assert len(sidecar.invocations) == 3, "that there is nobody is not remembered"


async def test_what_the_person_said_is_understood(sidecar: RecordingSidecar) -> None:
    hook = {"id": str(USER), "name": "home", "url": "https://home.example.org", "secret": "whsec_cw=="}
    said = {
        "webhooks": [hook],
        "quiet_hours": {"start": "22:00", "until": "07:00"},
        "late_policy": "drop_after",
        "drop_after": "PT6H",
    }
    sidecar.on_invoke(TASK_API, CONTACT_PATH, json=CONTACT | said)
    found = await InvokedTaskApi(sidecar, remember=30).contact(USER)
    assert found is not None
    assert found.webhooks == (Webhook(USER, "https://home.example.org", "whsec_cw=="),)
    assert found.quiet_hours == QuietHours(time(22), time(7))
    assert (found.late_policy, found.drop_after) == (LatePolicy.DROP_AFTER, timedelta(hours=6))
    assert "whsec" not in repr(found)


async def test_who_waits_for_it_is_woken_at_its_first_answer(sidecar: RecordingSidecar) -> None:
    woken: list[bool] = []
    api = InvokedTaskApi(sidecar, remember=30)
    waiting = AwaitTaskApi(api, lambda: woken.append(waiting.is_there()))
    assert waiting.is_there()
    assert await api.task(USER) is None
    assert waiting.is_there(), "no is an answer"
    await waiting.step()
    assert len(sidecar.invocations) == 1

    sidecar.unavailable = True
    with pytest.raises(TaskApiUnavailable):
        await api.task(USER)
    await waiting.step()
    assert not waiting.is_there()
    assert woken == []

    sidecar.unavailable = False
    sidecar.on_invoke(TASK_API, "/internal/v1/epoch", json={"epoch": 1})
    await waiting.step()
    await waiting.step()
    assert woken == [True]
