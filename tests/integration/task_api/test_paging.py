"""Pages in every order, while others write; and what a list costs."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest
from tests.integration.task_api.crowds import (
    analyze,
    asking,
    buffers,
    empty,
    fill,
    plan_of,
    read_whole,
    throw_away,
)

TASKS = "/api/v1/tasks"
SORTS = ["created_at", "updated_at", "due", "priority", "title"]
TITLES = ["Äpfel", "apfel", "Zebra", "ábc", "Abd", "öl", "ol", "1", "~"]


async def pages(person: Any, limit: int, between: Any = None, **query: Any) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await person.call("GET", TASKS, 200, params={"limit": limit, **query, **cursor})
        page = answer.json()
        seen += page["items"]
        if not page["has_next"]:
            return seen
        cursor = {"cursor": page["next_cursor"]}
        if between is not None:
            await between()


async def seed(person: Any, clock: Any, count: int) -> list[dict[str, Any]]:
    chance = random.Random(7)
    made: list[dict[str, Any]] = []
    for start in range(0, count, 100):
        tasks = []
        for n in range(start, min(start + 100, count)):
            task: dict[str, Any] = {
                "title": f"{chance.choice(TITLES)} {n % 17}",
                "priority": chance.choice(["low", "medium", "high", "urgent"]),
                "tags": chance.sample(["home", "work", "garden"], chance.randint(0, 2)),
            }
            if n % 3:
                moment = clock.instant + timedelta(hours=chance.randint(1, 40))
                task |= {"due_at": moment.isoformat()} if n % 2 else {"due_date": moment.date().isoformat()}
            tasks.append(task)
        made += (await person.call("POST", f"{TASKS}/bulk", 201, json={"tasks": tasks})).json()["items"]
        clock.advance(timedelta(seconds=1))
    return made


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORTS)
async def test_what_was_there_throughout_comes_exactly_once(
    ada: Any, clock: Any, sort: str, order: str
) -> None:
    made = await seed(ada, clock, 60)
    chance = random.Random(1)
    victims = [task["id"] for task in made[::6]]
    stays = {task["id"] for task in made} - set(victims)

    async def others_write() -> None:
        await ada.create(chance.choice(TITLES), priority="high", due_date="2026-01-06")
        if victims:
            await ada.call("DELETE", f"{TASKS}/{victims.pop()}", 204)

    seen = await pages(ada, 7, others_write, sort=sort, order=order)
    ids = [task["id"] for task in seen]
    assert len(ids) == len(set(ids))
    assert stays <= set(ids)


@pytest.mark.nightly
@pytest.mark.parametrize("sort", SORTS)
async def test_ten_thousand_while_others_write(ada: Any, clock: Any, sort: str) -> None:
    made = await seed(ada, clock, 10_000)
    victims = [task["id"] for task in made[::50]]
    stays = {task["id"] for task in made} - set(victims)
    stop = asyncio.Event()

    async def others_write() -> None:
        while not stop.is_set():
            await ada.create("another", priority="low", due_date="2026-01-06")
            if victims:
                await ada.call("DELETE", f"{TASKS}/{victims.pop()}", 204)

    writing = asyncio.create_task(others_write())
    ids = [task["id"] for task in await pages(ada, 200, sort=sort)]
    stop.set()
    await writing
    assert len(ids) == len(set(ids))
    assert stays <= set(ids)


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("created_at", lambda task: task["created_at"]),
        ("priority", lambda task: ["low", "medium", "high", "urgent"].index(task["priority"])),
        ("updated_at", lambda task: task["updated_at"]),
    ],
)
async def test_the_order_is_the_one_that_was_asked_for(ada: Any, clock: Any, sort: str, key: Any) -> None:
    await seed(ada, clock, 30)
    rising = [key(task) for task in await pages(ada, 11, sort=sort, order="asc")]
    assert rising == sorted(rising)
    falling = [key(task) for task in await pages(ada, 11, sort=sort, order="desc")]
    assert falling == sorted(falling, reverse=True)


async def test_titles_go_by_letters_without_accents_and_dues_end_with_none(ada: Any) -> None:
    for title in ("Öl", "Zebra", "apfel", "Äpfel", "ol"):
        await ada.create(title)
    titles = [task["title"] for task in await pages(ada, 2, sort="title")]
    assert [title.lower() for title in titles[-1:]] == ["zebra"]
    assert set(titles[:2]) == {"apfel", "Äpfel"}
    # 9 January is an all-day task, due at 09:00 in Berlin.
    await ada.create("day", due_date="2026-01-09")
    await ada.create("before", due_at="2026-01-09T07:59:00Z")
    await ada.create("after", due_at="2026-01-09T08:01:00Z")
    dues = [task["title"] for task in await pages(ada, 2, sort="due")]
    assert dues[:3] == ["before", "day", "after"]
    # The day starts elsewhere now, and the list follows.
    await ada.call("PATCH", "/api/v1/users/me", 200, json={"day_start": "10:00"})
    assert [task["title"] for task in await pages(ada, 2, sort="due")][:3] == ["before", "after", "day"]


async def test_overdue_and_other_filters(ada: Any, clock: Any) -> None:
    today = await ada.create("today", due_date="2026-01-05")
    soon = await ada.create("soon", due_at="2026-01-05T10:00:00Z")
    done = await ada.create("done", due_at="2026-01-05T10:00:00Z")
    await ada.call("POST", f"{TASKS}/{done['id']}/complete", 200)
    clock.advance(timedelta(hours=2))
    late = await pages(ada, 10, overdue="true")
    assert [task["id"] for task in late] == [soon["id"]], "the day of an all-day task is not over"
    clock.advance(timedelta(hours=12))
    assert {task["id"] for task in await pages(ada, 10, overdue="true")} == {soon["id"], today["id"]}
    since = await pages(ada, 10, updated_since="2026-01-05T09:00:01Z")
    assert since == []
    assert [task["id"] for task in await pages(ada, 10, number="2")] == [soon["id"]]
    await ada.call("DELETE", f"{TASKS}/{today['id']}", 204)
    assert [task["id"] for task in await pages(ada, 10, deleted="true")] == [today["id"]]
    assert {task["id"] for task in await pages(ada, 10)} == {soon["id"], done["id"]}


async def test_a_total_when_it_is_asked_for_and_offsets_for_older_clients(ada: Any, clock: Any) -> None:
    await seed(ada, clock, 25)
    plain = (await ada.call("GET", TASKS, 200)).json()
    assert "total" not in plain
    counted = (
        await ada.call("GET", TASKS, 200, params={"include": "total", "limit": 5, "offset": 20})
    ).json()
    assert (counted["total"], len(counted["items"]), counted["has_next"]) == (25, 5, False)
    await ada.call("GET", TASKS, 422, params={"offset": 1001})
    cursor = (await ada.call("GET", TASKS, 200, params={"limit": 5})).json()["next_cursor"]
    refused = await ada.call("GET", TASKS, 422, params={"offset": 5, "cursor": cursor})
    assert "cursor" in refused.json()["detail"]
    await ada.call("GET", TASKS, 422, params={"limit": 5, "cursor": cursor, "sort": "title"})


@pytest.fixture
async def crowd(engine: Any, ada: Any, bob: Any, request: pytest.FixtureRequest) -> Any:
    """So many tasks of ada, and as many of bob; and the series that some of ada's are of."""
    await empty(engine)
    series_id = await fill(engine, ada.id, request.param)
    await fill(engine, bob.id, request.param)
    await analyze(engine)
    return ada, series_id


EARLY, LATE = "1990-02-01T00:00:00Z", "2090-01-01T00:00:00Z"
"""Before the one and after the other lie the dues of a few tasks."""

PAGE, FEW_MATCH, RANKED = 250, 100, 1_500
"""Pages of 8 kB that may be touched: by a list that its own page ends, by one that has fewer matches than that, so that
nothing ends it but the range, and by a search, which reads up to a thousand matches to rank them."""
QUERIES: list[tuple[str, dict[str, str], int]] = [
    *((TASKS, {"sort": sort, "order": order}, PAGE) for sort in SORTS for order in ("asc", "desc")),
    (TASKS, {"status": "pending"}, PAGE),
    (TASKS, {"status": "pending", "sort": "due"}, PAGE),
    (TASKS, {"tag": "t7"}, PAGE),
    (TASKS, {"overdue": "true", "sort": "due"}, PAGE),
    (TASKS, {"due_before": LATE, "sort": "due", "order": "desc"}, PAGE),
    (TASKS, {"due_after": EARLY, "priority": "high"}, PAGE),
    (TASKS, {"number": "1000007"}, PAGE),
    (TASKS, {"q": "number 77"}, PAGE),
    *(
        (TASKS, {**few, "sort": sort, "order": order}, FEW_MATCH)
        for few in (
            {"due_before": EARLY},
            {"due_after": LATE},
            {"priority": "urgent"},
            {"series_id": "SERIES"},
        )
        for sort in ("created_at", "due", "priority")
        for order in ("asc", "desc")
    ),
    # A word of a few tasks, of one in a hundred, of one in ten, and of all.
    *((f"{TASKS}/search", {"q": words}, RANKED) for words in ("number 77", "hundredth", "tenth", "many")),
]


crowds = pytest.mark.parametrize(
    "crowd",
    [3_000, pytest.param(100_000, marks=pytest.mark.nightly)],
    indirect=True,
)


async def explained(
    person: Any, engine: Any, path: str, query: dict[str, str]
) -> tuple[list[Any], dict[str, Any]]:
    """The first 20 of a list, and the plan by which PostgreSQL finds them."""
    with asking(engine, "tasks") as sent:
        answer = await person.call("GET", path, 200, params={"limit": 20, **query})
    return answer.json()["items"], await plan_of(engine, *sent[0])


def reads_too_much(plan: dict[str, Any], most: int) -> bool:
    """Whether it touches more buffers than that, or reads all tasks."""
    return "tasks" in read_whole(plan) or buffers(plan) > most


@crowds
async def test_no_list_reads_more_than_a_page_needs(crowd: Any, engine: Any) -> None:
    """Buffers touched are bounded by the page, whatever the table holds; nothing is read from end to end."""
    ada, series_id = crowd
    too_much = []
    for path, query, most in QUERIES:
        asked = {name: str(series_id) if value == "SERIES" else value for name, value in query.items()}
        items, plan = await explained(ada, engine, path, asked)
        assert items, query
        if reads_too_much(plan, most):
            too_much.append((query, buffers(plan), read_whole(plan)))
    assert too_much == []


@crowds
async def test_no_order_of_the_bin_reads_more_than_a_page_needs(crowd: Any, engine: Any) -> None:
    """Two of three tasks are there no more, of which every second left its emptied row."""
    ada, _ = crowd
    await throw_away(engine, ada.id)
    too_much = []
    for sort in SORTS:
        for order in ("asc", "desc"):
            query = {"deleted": "true", "sort": sort, "order": order}
            items, plan = await explained(ada, engine, TASKS, query)
            assert len(items) == 20, query
            if reads_too_much(plan, PAGE):
                too_much.append((query, buffers(plan), read_whole(plan)))
    assert too_much == []
