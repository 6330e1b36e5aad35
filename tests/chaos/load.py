"""People at work: they make, change, complete, undo and delete tasks, at a set rate, choices drawn from the seed."""

from __future__ import annotations

import asyncio
import calendar
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from tests.chaos.model import Every, Model, Rule, Status, Task
from tests.chaos.person import GivenUpError, Person
from tests.chaos.writes import Mismatch, Writes

FIRST_SECONDS, LAST_SECONDS = 5.0, 40.0
"""How far ahead reminders are set."""
AT_ONCE = 48
"""Writes under way; beyond it a turn is left out and counted, for then the system takes less than is asked of it."""
LOOK_EVERY = 4.0

_WORDS = ("Water the plants", "Call the bank", "Pay the rent", "Take the medicine", "Feed the cat")
_PRIORITIES = ("low", "medium", "high", "urgent")


class Load:
    """`rate` writes a second, spread over `people`."""

    def __init__(self, model: Model, people: Sequence[Person], *, rate: float, seed: int) -> None:
        self._model = model
        self._people = list(people)
        self._rate = rate
        self._random = random.Random(seed)
        self._writes = Writes(model)
        self._number = 0
        self.mismatches: list[Mismatch] = self._writes.mismatches
        self.done: Counter[str] = Counter()
        self.left_out = 0
        self._kinds: dict[Callable[[Person], Awaitable[bool]], int] = {
            self._make: 30,
            self._make_recurring: 8,
            self._rename: 12,
            self._move: 12,
            self._complete: 18,
            self._complete_recurring: 9,
            self._undo: 8,
            self._delete: 6,
        }

    async def run(self, over: asyncio.Event) -> None:
        """Work until `over`; back when everything that was begun is acknowledged. What goes wrong with these people's
        own program ends the run, in an ExceptionGroup."""
        under_way: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as running:
            for person in self._people:
                running.create_task(self._look(person, over))
            began, turns = loop.time(), 0
            while not over.is_set():
                turns += 1
                await asyncio.sleep(max(0.0, began + turns / self._rate - loop.time()))
                if len(under_way) >= AT_ONCE:
                    self.left_out += 1
                    continue
                turn = running.create_task(self._turn())
                under_way.add(turn)
                turn.add_done_callback(under_way.discard)

    async def _turn(self) -> None:
        """One write of one person; what finds nothing to be done on makes a new task instead."""
        person = self._random.choice(self._people)
        [kind] = self._random.choices(list(self._kinds), list(self._kinds.values()))
        name = kind.__name__.lstrip("_")
        try:
            if not await kind(person):
                name = "make"
                await self._make(person)
        except GivenUpError as error:
            # Of a task that is there already `_on_one` takes note; this one never came to be.
            self.mismatches.append(Mismatch(datetime.now(UTC), person.user_id, f"no new task: {error}"))
        self.done[name] += 1

    async def _look(self, person: Person, over: asyncio.Event) -> None:
        """Look into the inbox now and then, and at what recurs."""
        while not over.is_set():
            try:
                self._note_heard(await person.inbox(pages=1))
                await self._adopt(person)
            except GivenUpError:
                continue
            await asyncio.sleep(LOOK_EVERY)

    def _note_heard(self, items: Sequence[dict[str, object]]) -> None:
        for item in items:
            task = self._model.tasks.get(str(item["task_id"]))
            if task is not None:
                task.heard.add((str(item["reminder_id"]), datetime.fromisoformat(str(item["fire_at"]))))

    async def _make(self, person: Person) -> bool:
        due = datetime.now(UTC) + timedelta(hours=2)
        moments = [self._ahead() for _ in range(self._random.choice((1, 1, 2)))]
        await self._writes.create(person, self._title(), due, moments)
        return True

    async def _make_recurring(self, person: Person) -> bool:
        every = self._random.choice(list(Every))
        start = (datetime.now(UTC) + timedelta(days=self._random.randint(2, 60))).date()
        if every is Every.MONTH:
            while calendar.monthrange(start.year, start.month)[1] != 31:
                start = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
            start = start.replace(day=31)
        rule = Rule(every, start, self._random.randint(6, 20), person.zone)
        await self._writes.create(person, self._title(), rule.due(0), [self._ahead()], rule)
        return True

    async def _rename(self, person: Person) -> bool:
        return await self._on_one(
            self._open(person),
            lambda task: self._writes.change(
                person, task, title=self._title(), priority=self._random.choice(_PRIORITIES)
            ),
        )

    async def _move(self, person: Person) -> bool:
        def move(task: Task) -> Awaitable[None]:
            moved = self._random.choice(sorted(task.wanted.reminders))
            return self._writes.change(
                person, task, reminders={**task.wanted.reminders, moved: self._ahead()}
            )

        return await self._on_one([task for task in self._open(person) if task.wanted.reminders], move)

    async def _complete(self, person: Person) -> bool:
        """Mostly what the person has heard of, sometimes something before its time."""
        tasks = [task for task in self._open(person) if task.series is None]
        heard = [task for task in tasks if task.wanted.reminders.items() <= task.heard]
        wanted = heard if self._random.random() < 0.7 else tasks
        return await self._on_one(wanted, lambda task: self._writes.close(person, task, Status.COMPLETED))

    async def _complete_recurring(self, person: Person) -> bool:
        return await self._on_one(
            [task for task in self._open(person) if task.series is not None],
            lambda task: self._writes.close(person, task, Status.COMPLETED),
        )

    async def _delete(self, person: Person) -> bool:
        return await self._on_one(
            self._open(person), lambda task: self._writes.close(person, task, Status.DELETED)
        )

    async def _undo(self, person: Person) -> bool:
        tasks = [task for task in self._free(person) if task.undo is not None]
        return await self._on_one(tasks[-20:], lambda task: self._writes.undo(person, task))

    async def _adopt(self, person: Person) -> None:
        """Take note of successors that are there, so that the people can go on with them."""
        for series in [one for one in self._model.series.values() if one.tip.user_id == person.user_id]:
            if series.tip.is_open or series.tip.unknown:
                continue
            await self._on_one([series.tip], lambda _, one=series: self._writes.adopt(person, one))  # type: ignore[misc]

    async def _on_one(self, tasks: Sequence[Task], act: Callable[[Task], Awaitable[None]]) -> bool:
        """Do it on one of these that nobody is at; False when there is none. A series is worked on as one."""
        free = [task for task in tasks if not _is_busy(task)]
        if not free:
            return False
        task = self._random.choice(free)
        held = [task] if task.series is None else list(task.series.instances)
        for one in held:
            one.busy = True
        try:
            await act(task)
        except GivenUpError:
            task.left_alone = task.unknown = True
        finally:
            for one in held:
                one.busy = False
        return True

    def _free(self, person: Person) -> list[Task]:
        return [task for task in self._model.tasks_of(person.user_id) if not task.left_alone]

    def _open(self, person: Person) -> list[Task]:
        return [task for task in self._free(person) if task.is_open]

    def _title(self) -> str:
        self._number += 1
        return f"{self._random.choice(_WORDS)} {self._number}"

    def _ahead(self) -> datetime:
        """A moment some seconds from now, in whole milliseconds: what every part of the system can hold."""
        at = datetime.now(UTC) + timedelta(seconds=self._random.uniform(FIRST_SECONDS, LAST_SECONDS))
        return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _is_busy(task: Task) -> bool:
    return task.busy or (task.series is not None and any(one.busy for one in task.series.instances))
