"""One open stream and its store: what it is told, how often it asks, and what becomes of it while the store is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.unit.notifier.samples import USER, snapshot

from event_contracts.tasks import TaskSnapshot
from notifier.application.errors import LeavingNow, ListenersFull, LiveUnavailable, PersonListensEnough
from notifier.application.follow_live import FollowLive, WatchSessions
from notifier.application.listeners import Listener, Listeners
from notifier.domain.live import End, Kind, LiveEvent, task_row


class Store:
    """Events of one person; `away` is how many reads fail."""

    def __init__(self) -> None:
        self.events = [LiveEvent("1-0", Kind.START)]
        self.away = 0
        self.reads = 0
        self.erased = False

    def add(self, position: str, kind: Kind = Kind.TASK) -> None:
        self.events.append(LiveEvent(position, kind))

    async def tell_task(self, task: TaskSnapshot, at: datetime) -> bool:
        raise AssertionError("read only")

    async def begin(self, user_id: UUID) -> str | None:
        return None if self.erased else self.events[-1].position

    async def since(self, user_id: UUID, position: str) -> Sequence[LiveEvent] | None:
        self.reads += 1
        if self.away:
            self.away -= 1
            raise LiveUnavailable("away")
        places = [event.position for event in self.events]
        return self.events[places.index(position) + 1 :] if position in places else None

    async def erase(self, user_id: UUID) -> None:
        self.erased = True


def _follow(store: Store, sign_of_life: float = 5.0) -> FollowLive:
    return FollowLive(store, sign_of_life=sign_of_life, chance=lambda: 0.0)


async def _next(batches: AsyncIterator[Sequence[LiveEvent]]) -> list[tuple[str, str]]:
    async with asyncio.timeout(5):
        return [(event.position, event.kind) for event in await anext(batches)]


async def test_from_ready_on_it_is_told_what_comes() -> None:
    store, listener = Store(), Listener(USER, None)
    batches = _follow(store).events(listener, None)
    assert await _next(batches) == [("1-0", "ready")]
    store.add("2-0")
    store.add("3-0", Kind.START)
    assert await _next(batches) == [("2-0", "task")]
    waiting = asyncio.ensure_future(_next(batches))
    await asyncio.sleep(0.01)
    store.add("4-0")
    listener.wake()
    assert await waiting == [("4-0", "task")]


async def test_one_wake_up_is_one_look() -> None:
    store, listener = Store(), Listener(USER, None)
    batches = _follow(store).events(listener, "1-0")
    waiting = asyncio.ensure_future(_next(batches))
    await asyncio.sleep(0.01)
    before = store.reads
    listener.wake()
    await asyncio.sleep(0.05)
    assert store.reads == before + 1
    listener.end(End.SHUTDOWN)
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_what_came_while_it_looked_is_not_slept_over() -> None:
    store, listener = Store(), Listener(USER, None)
    original = store.since

    async def slow(user_id: UUID, position: str) -> Sequence[LiveEvent] | None:
        found = await original(user_id, position)
        if store.reads == 1:
            store.add("2-0")
            listener.wake()
        return found

    store.since = slow  # type: ignore[method-assign]
    assert await _next(_follow(store).events(listener, "1-0")) == [("2-0", "task")]


async def test_a_store_that_is_away_costs_time_and_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifier.application.follow_live._AGAIN_SECONDS", 0.01)
    store, listener = Store(), Listener(USER, None)
    store.add("2-0")
    store.away = 2
    batches = _follow(store).events(listener, "1-0")
    assert [await _next(batches) for _ in range(3)] == [[], [], [("2-0", "task")]]


async def test_a_position_that_is_not_kept_begins_anew_and_an_erased_person_does_not() -> None:
    store, listener = Store(), Listener(USER, None)
    store.add("2-0")
    batches = _follow(store).events(listener, "0-7")
    assert await _next(batches) == [("2-0", "reset")]
    store.events.clear()
    store.erased = True
    with pytest.raises(StopAsyncIteration):
        await _next(batches)
    assert listener.ended is End.ACCOUNT_ERASED


async def test_who_may_listen() -> None:
    listeners = Listeners(at_most=3, per_person=2)
    one, two = (listeners.join(USER, None, None) for _ in range(2))
    with pytest.raises(PersonListensEnough):
        listeners.join(USER, None, None)
    listeners.join(uuid4(), None, None)
    with pytest.raises(ListenersFull):
        listeners.join(uuid4(), None, None)
    listeners.leave(one)
    three = listeners.join(USER, None, None)
    listeners.close()
    assert (one.ended, two.ended, three.ended) == (None, End.SHUTDOWN, End.SHUTDOWN)
    with pytest.raises(LeavingNow):
        listeners.join(USER, None, None)


class _Mirror:
    def __init__(self, answer: set[UUID] | LiveUnavailable | None) -> None:
        self.answer = answer
        self.asked: list[int] = []

    async def ended_among(self, families: Sequence[UUID]) -> set[UUID] | None:
        self.asked.append(len(families))
        if isinstance(self.answer, LiveUnavailable):
            raise self.answer
        return self.answer


async def test_sessions_are_asked_of_many_at_once() -> None:
    listeners = Listeners(at_most=5_000, per_person=2)
    families = [uuid4() for _ in range(1_200)]
    opened: dict[Any, Listener] = {one: listeners.join(uuid4(), one, None) for one in families}
    without = listeners.join(uuid4(), None, None)
    await WatchSessions(listeners, _Mirror(LiveUnavailable("away"))).step()
    assert not any(one.ended for one in opened.values())
    mirror = _Mirror({families[7]})
    await WatchSessions(listeners, mirror).step()
    assert mirror.asked == [500, 500, 200]
    assert [family for family, one in opened.items() if one.ended] == [families[7]]
    await WatchSessions(listeners, _Mirror(None)).step()
    assert all(one.ended is End.SESSION_ENDED for one in opened.values())
    assert without.ended is None


def test_a_row_is_small_whatever_the_task_holds() -> None:
    task = snapshot(description="x" * 5_000, changes={"title": {"old": "a", "new": "b"}, "description": {}})
    row = task_row(task)
    assert row["changed"] == ["description", "title"]
    assert (row["id"], row["status"], row["due_at"]) == (str(task.task_id), "pending", "2026-01-05T10:00:00Z")
    assert "x" * 10 not in str(row)
