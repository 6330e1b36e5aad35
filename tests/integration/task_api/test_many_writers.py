"""Sixty-four writers on one task: nothing that was answered is lost, and each ledger tells the whole of it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import orjson
import pytest

_COUNTERS = 12
_REMINDERS = 6


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_sixty_four_writers_on_one_task(ada: Any, rows: Any, seed: int) -> None:
    task = await ada.create(metadata={"count": 0}, due_at="2026-01-09T10:00:00Z", reminders=[])
    one = f"/api/v1/tasks/{task['id']}"

    async def plain(field: str, value: Any) -> tuple[int, str, Any]:
        answer = await ada.call("PATCH", one, 200, json={field: value})
        return answer.json()["version"], field, value

    async def count() -> tuple[int, str, Any]:
        """Read, add one, write if nobody was in between; again until it went through."""
        while True:
            read = await ada.call("GET", one, 200)
            value = {"count": read.json()["metadata"]["count"] + 1}
            answer = await ada.call(
                "PATCH", one, json={"metadata": value}, headers={"If-Match": read.headers["etag"]}
            )
            if answer.status_code == 200:
                return answer.json()["version"], "metadata", value
            assert answer.status_code == 412, answer.text

    async def close(*, completed: bool) -> tuple[int, str, Any]:
        answer = (await ada.call("POST", f"{one}/complete", 200, json={"completed": completed})).json()
        status = "completed" if completed else "pending"
        assert answer["status"] == status
        return answer["version"], "status", status

    async def remind(hour: int) -> tuple[int, str, Any]:
        body = {"at": f"2026-01-08T{hour:02}:00:00Z"}
        answer = (await ada.call("POST", f"{one}/reminders", 201, json=body)).json()
        return answer["version"], "reminders", body["at"]

    writers: list[Awaitable[tuple[int, str, Any]]] = [
        *(plain("title", f"title {n}") for n in range(12)),
        *(plain("description", f"description {n}") for n in range(12)),
        *(plain("tags", [f"tag {n}", "both"]) for n in range(6)),
        *(close(completed=n % 2 == 0) for n in range(16)),
        *(remind(n) for n in range(_REMINDERS)),
        *(count() for _ in range(_COUNTERS)),
    ]
    random.Random(seed).shuffle(writers)
    assert len(writers) == 64
    answers = await asyncio.gather(*writers)

    lines = (await ada.call("GET", f"{one}/history?limit=200", 200)).json()["items"]
    last = (await ada.call("GET", one, 200)).json()
    versions = list(range(1, last["version"] + 1))
    assert [line["version"] for line in lines] == versions
    # Each answer stands in the history under the version that it named; one that found its wish done names whose.
    for version, field, value in answers:
        change = lines[version - 1]["changes"].get(field)
        if field == "status":
            assert change is None or change["new"] == value
        elif field == "reminders":
            added = [item for item in change["new"] if item not in change["old"]]
            assert [item["at"] for item in added] == [value]
        else:
            assert change["new"] == value
    written = Counter(version for version, field, _ in answers if field != "status")
    assert set(written.values()) == {1}

    snapshots = await _snapshots(rows, task)
    assert sorted(snapshots) == versions
    state: dict[str, Any] = {"title": task["title"], "description": None, "tags": [], "status": "pending"}
    state |= {"metadata": {"count": 0}, "reminders": [], "closed_by": None}
    for line in lines[1:]:
        assert line["changes"], "a version in which nothing changed"
        for field, change in line["changes"].items():
            assert change["old"] == state[field], f"version {line['version']} did not see what came before it"
            state[field] = change["new"]
        told = snapshots[line["version"]]
        for field in ("title", "description", "tags", "status", "closed_by"):
            assert told[field] == state[field]
        assert [item["at"] for item in told["reminders"]] == [item["at"] for item in state["reminders"]]
    for field in ("title", "description", "tags", "status", "metadata"):
        assert last[field] == state[field]
    assert state["metadata"] == {"count": _COUNTERS}
    assert len(last["reminders"]) == _REMINDERS


async def _snapshots(rows: Any, task: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The snapshots in the outbox, by version."""
    found = [
        orjson.loads(row["event"])["data"]
        for row in await rows("SELECT event FROM outbox WHERE key = :id", id=task["id"])
    ]
    by_version = {data["version"]: data for data in found}
    assert len(by_version) == len(found)
    return by_version
