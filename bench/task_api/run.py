"""What is measured, in which tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bench import requests
from bench.http_client import Connection
from bench.load import Requests
from bench.postgres import Store
from bench.requests import Person
from bench.task_api.arena import Arena
from bench.task_api.measure import Measuring, Plan

Row = dict[str, Any]
SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""How many tasks the tables of the lists hold."""
TASKS_EACH = 1_000
"""How many tasks a person has where many people have some."""
_PEOPLE = 32
_SMALL = 10_000
"""Up to here it is not worth the time to ask whose tasks they are."""
_QUICKEST = 1_500
"""More completions a second than any of the two reaches: the stock of open tasks must last."""


@dataclass
class Benchmark:
    """One run. `report` hears each row as soon as it is measured."""

    place: Arena
    store: Store
    plan: Plan
    rows: int
    report: Callable[[Row], None]

    async def run(self, routes: tuple[str, ...]) -> None:
        """Measure the routes in this order. Raises RequestsRefused."""
        measures: dict[str, Callable[[list[Person]], Awaitable[None]]] = {
            "create": self._create,
            "get": self._get,
            "search": self._search,
            "complete": self._complete,
            "list": self._list,
        }
        async with self._connected() as connection:
            people = await requests.register(connection, _PEOPLE)
        for route in routes:
            await measures[route](people)

    async def _create(self, people: list[Person]) -> None:
        published = self.store.until_published
        await self._measure("create", people, requests.creating, clients=(1, 10, 100), between=published)

    async def _get(self, people: list[Person]) -> None:
        owned = await self._own(people, _PEOPLE * TASKS_EACH)
        await self._measure("get", people, lambda these: requests.getting(these, owned))

    async def _search(self, people: list[Person]) -> None:
        await self._own(people, _PEOPLE * TASKS_EACH)
        await self._measure("search", people, requests.searching)

    async def _complete(self, people: list[Person]) -> None:
        blocks = 2 * (len(self.plan.clients) + 1) * self.plan.pairs + 2
        owned = await self._own(people, int(_QUICKEST * self.plan.seconds * blocks))
        await self._measure(
            "complete",
            people,
            lambda these: requests.completing(these, owned),
            between=self.store.until_published,
        )

    async def _list(self, people: list[Person]) -> None:
        sizes = [size for size in SIZES if size <= self.rows]
        await self.store.clear()
        for before, size in zip([0, *sizes], sizes, strict=False):
            await self.store.fill([people[0].user_id], before + 1, size)
            await self._measure(f"list, {size:,} of one", people[:1], requests.listing, clients=(10,))
        if sizes[-1] > _SMALL:
            await self._list_of_many(people, sizes)

    async def _list_of_many(self, people: list[Person], sizes: list[int]) -> None:
        await self.store.clear()
        strangers = await self.store.strangers(max(0, sizes[-1] // TASKS_EACH - _PEOPLE))
        for size in sizes:
            # The persons who ask have as many tasks in each table, dealt among those of all the others.
            known = people[: max(1, min(_PEOPLE, size // TASKS_EACH))]
            everybody = [person.user_id for person in known]
            everybody += strangers[: size // TASKS_EACH - len(known)]
            await self.store.clear()
            await self.store.fill(everybody, 1, size)
            await self._measure(f"list, {size:,} of many", known, requests.listing, clients=(10,))

    async def _own(self, people: list[Person], count: int) -> dict[UUID, list[UUID]]:
        owners = [person.user_id for person in people]
        await self.store.clear()
        await self.store.fill(owners, 1, count)
        return await self.store.open_tasks(owners)

    async def _measure(
        self,
        name: str,
        people: list[Person],
        made: Callable[[list[Person]], Requests],
        **options: Any,
    ) -> None:
        async with self._connected() as connection:
            await requests.log_in(connection, people)
        for row in await Measuring(self.place, self.plan).route(name, made(people), **options):
            self.report(row)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        connection = await Connection.to(self.place.ours.port)
        try:
            yield connection
        finally:
            connection.close()
