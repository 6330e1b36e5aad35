"""Many at once: versions, history and events stay in step."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
from sqlalchemy import text


def path(task: dict[str, Any]) -> str:
    return f"/api/v1/tasks/{task['id']}"


async def versions(rows: Any, task: dict[str, Any]) -> dict[str, list[int]]:
    """The versions that history, activity and outbox tell of, each in order."""
    history = await rows("SELECT id, version FROM task_history WHERE task_id = :id", id=task["id"])
    told = await rows("SELECT id, event FROM outbox WHERE key = :id", id=task["id"])
    activity = await rows("SELECT id, detail FROM task_activity WHERE task_id = :id", id=task["id"])
    by_event = {row["id"]: orjson.loads(row["event"])["data"]["version"] for row in told}
    assert {row["id"]: row["version"] for row in history} == by_event
    return {
        "history": sorted(row["version"] for row in history),
        "outbox": sorted(by_event.values()),
        "activity": sorted(row["detail"]["version"] for row in activity),
    }


async def test_sixteen_writers_with_if_match(ada: Any, rows: Any) -> None:
    task = await ada.create(metadata={"count": 0})

    async def add_one() -> int:
        for tries in range(1, 200):
            read = await ada.call("GET", path(task), 200)
            count = read.json()["metadata"]["count"]
            answer = await ada.call(
                "PATCH",
                path(task),
                json={"metadata": {"count": count + 1}},
                headers={"If-Match": read.headers["etag"]},
            )
            if answer.status_code == 200:
                return tries
            assert answer.status_code == 412
        raise AssertionError("never got through")

    await asyncio.gather(*(add_one() for _ in range(16)))
    after = (await ada.call("GET", path(task), 200)).json()
    assert (after["metadata"], after["version"]) == ({"count": 16}, 17)
    seventeen = list(range(1, 18))
    assert await versions(rows, task) == {"history": seventeen, "outbox": seventeen, "activity": seventeen}


async def test_sixteen_writers_without(ada: Any, rows: Any) -> None:
    task = await ada.create()
    bodies = [{"title": f"writer {number}"} for number in range(16)]
    answers = await asyncio.gather(*(ada.call("PATCH", path(task), 200, json=body) for body in bodies))
    assert sorted(answer.json()["version"] for answer in answers) == list(range(2, 18))
    last = max(answers, key=lambda answer: answer.json()["version"]).json()
    assert (await ada.call("GET", path(task), 200)).json() == last
    assert (await versions(rows, task))["outbox"] == list(range(1, 18))


async def test_completed_many_times_at_once_is_completed_once(ada: Any, rows: Any) -> None:
    for recurrence in (None, {"rrule": "FREQ=DAILY"}):
        task = await ada.create(due_date="2026-01-06", recurrence=recurrence)
        answers = await asyncio.gather(*(ada.call("POST", path(task) + "/complete", 200) for _ in range(8)))
        assert {answer.json()["version"] for answer in answers} == {2}
        assert (await versions(rows, task))["outbox"] == [1, 2]


async def test_opposite_wishes_at_once_leave_no_half(ada: Any, rows: Any) -> None:
    task = await ada.create(due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    wishes: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", "/complete", {"completed": number % 2 == 0}) for number in range(8)
    ]
    wishes += [("POST", "/skip", None), ("PATCH", "", {"status": "archived"}), ("PATCH", "", {"title": "x"})]
    answers = await asyncio.gather(
        *(ada.call(method, path(task) + route, json=body) for method, route, body in wishes)
    )
    assert Counter(answer.status_code for answer in answers).keys() <= {200, 409}
    after = (await ada.call("GET", path(task), 200)).json()
    expected = list(range(1, after["version"] + 1))
    assert await versions(rows, task) == {"history": expected, "outbox": expected, "activity": expected}


async def test_deletes_at_once_delete_once(ada: Any, rows: Any) -> None:
    task = await ada.create()
    answers = await asyncio.gather(*(ada.call("DELETE", path(task)) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404, 404, 404]
    assert (await versions(rows, task))["outbox"] == [1, 2]


async def test_a_status_waits_for_the_series(ada: Any, engine: Any) -> None:
    task = await ada.create(due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    routes = [
        ("POST", "/complete", None),
        ("POST", "/skip", None),
        ("PATCH", "", {"status": "archived"}),
        ("DELETE", "", None),
    ]
    for method, route, body in routes:
        async with engine.begin() as holder:
            await holder.execute(
                text("SELECT 1 FROM series WHERE id = :id FOR UPDATE"), {"id": task["series_id"]}
            )
            waiting = asyncio.create_task(ada.call(method, path(task) + route, json=body))
            assert await _is_blocked(engine)
            assert not waiting.done()
            # What does not touch the status does not wait.
            await ada.call("PATCH", path(task), 200, json={"title": f"{method}{route}"})
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


async def _is_blocked(engine: Any) -> bool:
    """Whether a connection waits for a lock, within two seconds."""
    async with (
        asyncio.timeout(2),
        engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection,
    ):
        while True:
            waiting = await connection.execute(
                text(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
            )
            if waiting.scalar_one():
                return True
            await asyncio.sleep(0)


async def test_a_refused_write_leaves_nothing(ada: Any, rows: Any) -> None:
    task = await ada.create()
    await ada.call("PATCH", path(task), 422, json={"title": "x", "reminders": [{"offset": "PT5M"}]})
    await ada.call("PATCH", path(task), 412, json={"title": "x"}, headers={"If-Match": '"2"'})
    assert (await versions(rows, task))["history"] == [1]
