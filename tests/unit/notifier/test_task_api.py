"""What task-api answers is understood; anything else is asked again later."""

from __future__ import annotations

import pytest
from tests.unit.notifier.samples import USER, contact, snapshot

from event_contracts.topics import TASK_API
from notifier.adapters.task_api import InvokedTaskApi
from notifier.application.errors import TaskApiUnavailable
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
