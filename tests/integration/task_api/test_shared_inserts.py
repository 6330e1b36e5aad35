"""Tasks of several requests in one transaction: who shares it, who does not, and what each hears when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import orjson
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from event_contracts.values import Actor, ActorKind
from task_api.adapters.postgres.database import PostgresDatabase, connect
from task_api.adapters.postgres.direct import Direct
from task_api.adapters.postgres.shared_inserts import MOST, SharedInserts
from task_api.application.create_task import NewTask, first_write
from task_api.application.ports import Owner, Stamp, TaskWrite
from task_api.domain.errors import StorageUnavailable
from task_api.domain.task import Task

_PATIENCE = 10.0


@pytest_asyncio.fixture(loop_scope="session")
async def inserts(engine: AsyncEngine) -> SharedInserts:
    """As task-api has it."""
    return SharedInserts(engine, PostgresDatabase(engine))


@dataclass
class Flights:
    """How many tasks each flight had. While `open` is not set, none leaves."""

    sizes: list[int] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    before: Callable[[Any], Awaitable[None]] | None = None


@pytest_asyncio.fixture(loop_scope="session")
async def owners(ada: Any, bob: Any, inserts: SharedInserts) -> list[Owner]:
    """Ada and Bob. Each has had a task before: the first one of an account goes alone."""
    for person in (ada, bob):
        await person.create("Before")
    return [await _owner(inserts, person) for person in (ada, bob)]


@pytest.fixture
def flights(owners: list[Owner], monkeypatch: pytest.MonkeyPatch) -> Flights:
    """Watch and hold up flights, from when the owners are there."""
    seen = Flights()
    ask = Direct.together

    async def held(statement: Direct, connection: Any, asked: Sequence[list[Any]]) -> Any:
        seen.sizes.append(len(asked))
        await seen.open.wait()
        if seen.before is not None:
            await seen.before(connection)
        return await ask(statement, connection, asked)

    monkeypatch.setattr(Direct, "together", held)
    return seen


async def _owner(inserts: SharedInserts, person: Any) -> Owner:
    owner = await inserts.owner(person.id)
    assert owner is not None
    return owner


def _change(owner: Owner, title: str = "Water the plants") -> TaskWrite:
    actor = Actor(kind=ActorKind.USER, id=str(owner.user_id))
    change, _ = first_write(owner, NewTask(title), Stamp(actor, datetime.now(UTC)))
    return change


async def _departed(flights: Flights, count: int) -> None:
    async with asyncio.timeout(_PATIENCE):
        while len(flights.sizes) < count:  # noqa: ASYNC110 - a flight leaves when it leaves
            await asyncio.sleep(0.005)


@asynccontextmanager
async def _held_up(inserts: SharedInserts, flights: Flights, owner: Owner) -> AsyncIterator[None]:
    """Have one task under way, for which whoever comes now waits; let it go in the end."""
    first = asyncio.create_task(inserts.write(_change(owner, "The first one"), owner))
    await _departed(flights, 1)
    yield
    flights.open.set()
    assert await first is not None


async def test_who_comes_meanwhile_goes_together(
    ada: Any, bob: Any, rows: Any, owners: list[Owner], flights: Flights, inserts: SharedInserts
) -> None:
    async with _held_up(inserts, flights, owners[0]):
        changes = [_change(owners[n % 2], f"number {n}") for n in range(MOST + 6)]
        writing = asyncio.gather(
            *(inserts.write(one, owners[n % 2]) for n, one in enumerate(changes)),
        )
        await asyncio.sleep(0)
    written = await writing
    assert flights.sizes == [1, MOST, 6]
    for whose, first in ((0, 3), (1, 2)):
        numbers = [task.number for task in written[whose::2] if task is not None]
        assert numbers == list(range(first, first + len(changes) // 2))
    stored = await rows(
        "SELECT t.title, t.number, t.xmin::text AS transaction, o.event FROM tasks t "
        "JOIN outbox o ON o.key = t.id::text WHERE t.user_id IN (:ada, :bob) AND t.title LIKE 'number %'",
        ada=ada.id,
        bob=bob.id,
    )
    assert len(stored) == len(changes)
    assert len({row["transaction"] for row in stored}) == 2
    for row in stored:
        told = orjson.loads(row["event"])["data"]
        assert (told["title"], told["number"]) == (row["title"], row["number"])


@pytest.mark.parametrize("table", ["users", "user_changes"])
async def test_nobody_waits_for_anothers_lock(
    ada: Any, owners: list[Owner], engine: AsyncEngine, inserts: SharedInserts, table: str
) -> None:
    """Somebody imports for ada, or changes many of her tasks: her new task waits for that, bob's does not."""
    hers, his = owners
    key = "id" if table == "users" else "user_id"
    async with engine.connect() as connection:
        await connection.execute(
            text(f"SELECT FROM {table} WHERE {key} = :id FOR NO KEY UPDATE"),
            {"id": ada.id},
        )
        of_ada = asyncio.create_task(inserts.write(_change(hers), hers))
        of_bob = asyncio.create_task(inserts.write(_change(his), his))
        async with asyncio.timeout(_PATIENCE):
            done = await of_bob
        assert done is not None
        assert done.number == 2
        await asyncio.sleep(0.05)
        assert not of_ada.done()
        await connection.rollback()
    async with asyncio.timeout(_PATIENCE):
        waited = await of_ada
    assert waited is not None
    assert waited.number == 2


async def test_one_that_does_not_fit_leaves_the_others_alone(
    ada: Any, bob: Any, rows: Any, owners: list[Owner], flights: Flights, inserts: SharedInserts
) -> None:
    """One is refused by the driver before it is sent, one by the database itself."""
    hers, his = owners
    good = [_change(his, f"good {n}") for n in range(4)]
    bad = _change(hers)
    for no_such in ({"version": 2**40}, {"priority": "immense"}):
        flights.open.clear()
        flights.sizes.clear()
        async with _held_up(inserts, flights, his):
            writing = asyncio.gather(
                inserts.write(good.pop(), his),
                inserts.write(replace(bad, after=replace(bad.after, **no_such)), hers),
                inserts.write(good.pop(), his),
                return_exceptions=True,
            )
            await asyncio.sleep(0)
        one, refused, other = await writing
        assert flights.sizes == [1, 3]
        assert isinstance(refused, asyncpg.PostgresError)
        assert isinstance(one, Task)
        assert isinstance(other, Task)
    stored = await rows("SELECT title FROM tasks WHERE user_id = :id ORDER BY number", id=bob.id)
    assert sorted(row["title"] for row in stored if row["title"].startswith("good")) == [
        f"good {n}" for n in range(4)
    ]
    assert len(await rows("SELECT 1 FROM tasks WHERE user_id = :id", id=ada.id)) == 1


async def test_a_connection_that_ends_on_the_way_fails_all_and_the_next_go_on(
    bob: Any, rows: Any, owners: list[Owner], flights: Flights, inserts: SharedInserts
) -> None:
    """What became of them is not known, so nothing is tried again behind their backs."""
    flights.open.set()
    hers, his = owners

    async def lose(connection: Any) -> None:
        flights.before = None
        driver = (await connection.get_raw_connection()).driver_connection
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
            await driver.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    flights.before = lose
    outcomes = await asyncio.gather(
        inserts.write(_change(hers), hers), inserts.write(_change(his), his), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [StorageUnavailable, StorageUnavailable]
    assert await inserts.write(_change(hers), hers) is not None
    assert len(await rows("SELECT 1 FROM tasks WHERE user_id = :id", id=bob.id)) == 1


async def test_who_gives_up_before_it_leaves_is_not_written(
    rows: Any, owners: list[Owner], flights: Flights, inserts: SharedInserts
) -> None:
    hers, his = owners
    async with _held_up(inserts, flights, his):
        given_up = asyncio.create_task(inserts.write(_change(hers, "Given up"), hers))
        stays = asyncio.create_task(inserts.write(_change(his, "Stays"), his))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
    assert await stays is not None
    assert flights.sizes == [1, 1]
    assert await rows("SELECT 1 FROM tasks WHERE title = 'Given up'") == []


async def test_all_may_give_up(
    rows: Any, owners: list[Owner], flights: Flights, inserts: SharedInserts
) -> None:
    hers, _ = owners
    async with _held_up(inserts, flights, hers):
        given_up = asyncio.create_task(inserts.write(_change(hers, "Given up"), hers))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
    assert await inserts.write(_change(hers, "The next one"), hers) is not None
    assert await rows("SELECT 1 FROM tasks WHERE title = 'Given up'") == []


async def test_two_replicas_and_writers_of_the_same_people(
    ada: Any, bob: Any, database_url: str, engine: AsyncEngine, rows: Any
) -> None:
    """New tasks of the same people in two processes, while their other tasks are changed: each is there once, numbers
    have no gaps, and nobody waits for somebody who waits for him."""
    before = {person.id: [await person.create(f"Before {n}") for n in range(5)] for person in (ada, bob)}
    other = connect(database_url, pool_size=5)
    replicas = [SharedInserts(one, PostgresDatabase(one)) for one in (engine, other)]
    owners = [await _owner(replicas[0], person) for person in (ada, bob)]

    async def insert(n: int) -> Task | None:
        return await replicas[n // 2 % 2].write(_change(owners[n % 2], f"New {n}"), owners[n % 2])

    async def change(person: Any, n: int) -> None:
        body = {"ids": [task["id"] for task in before[person.id]], "changes": {"title": f"Changed {n}"}}
        await person.call("POST", "/api/v1/tasks/bulk/update", 200, json=body)

    async with asyncio.timeout(60):
        written, _ = await asyncio.gather(
            asyncio.gather(*(insert(n) for n in range(120))),
            asyncio.gather(*(change(person, n) for n in range(8) for person in (ada, bob))),
        )
    await other.dispose()
    assert all(task is not None for task in written)
    for person in (ada, bob):
        found = await rows("SELECT number FROM tasks WHERE user_id = :id ORDER BY number", id=person.id)
        assert [row["number"] for row in found] == list(range(1, 66))


async def test_an_account_that_is_gone_or_changed_gives_nothing(
    ada: Any, rows: Any, owners: list[Owner], inserts: SharedInserts
) -> None:
    hers, _ = owners
    await rows("UPDATE users SET timezone = 'Asia/Tokyo' WHERE id = :id RETURNING id", id=ada.id)
    assert await inserts.write(_change(hers), hers) is None
    gone = replace(hers, user_id=UUID(int=7))
    assert await inserts.write(_change(gone), gone) is None
