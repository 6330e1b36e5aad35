"""What is asked of task-api, and how its answers are taken."""

from __future__ import annotations

from uuid import uuid4

import pytest
from tests.unit.reminders.conftest import snapshot

from reminders.adapters.task_api import InvokedTaskApi
from service_kit.sidecar import SidecarError
from service_kit.testing.fakes import RecordingSidecar


async def test_answers_are_read() -> None:
    sidecar, task = RecordingSidecar(), snapshot()
    body = task.model_dump(mode="json")
    sidecar.on_invoke("task-api", "/internal/v1/epoch", json={"epoch": 7})
    sidecar.on_invoke("task-api", f"/internal/v1/tasks/{task.task_id}", json=body)
    page = {"items": [body], "next_cursor": "next", "epoch": 7}
    sidecar.on_invoke("task-api", "/internal/v1/snapshot", json=page)
    task_api = InvokedTaskApi(sidecar)
    assert await task_api.epoch() == 7
    assert await task_api.task(task.task_id) == task
    assert await task_api.task(uuid4()) is None
    wanted = [task.task_id, *(uuid4() for _ in range(3))]
    assert await task_api.some_tasks(wanted) == {task.task_id: task}, "a release that is asked one by one"
    sidecar.on_invoke("task-api", "/internal/v1/tasks", json={"items": [body]})
    before = len(sidecar.invocations)
    assert await task_api.some_tasks(wanted) == {task.task_id: task}
    assert len(sidecar.invocations) == before + 1
    found = await task_api.page(None)
    assert (list(found.tasks), found.next_cursor) == ([task], "next")


async def test_a_refusal_is_not_taken_for_an_empty_answer() -> None:
    sidecar = RecordingSidecar()
    for path in ("/internal/v1/epoch", "/internal/v1/snapshot"):
        sidecar.on_invoke("task-api", path, status=403, json={"error_code": "forbidden"})
    with pytest.raises(SidecarError):
        await InvokedTaskApi(sidecar).epoch()
    with pytest.raises(SidecarError):
        await InvokedTaskApi(sidecar).page(None)
    sidecar.on_invoke("task-api", "/internal/v1/tasks", status=403, json={"error_code": "forbidden"})
    with pytest.raises(SidecarError):
        await InvokedTaskApi(sidecar).some_tasks([uuid4()])
