"""Turns are given in order, are never lost, and are refused while waiting would only make everybody late."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_kit.admission import RETRY_AFTER_SECONDS, WAITING_EACH, Admission
from service_kit.testing.waiting import eventually

LONG = 30.0


class Exchange:
    """One request: `status` is None until its answer begins."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
        self.task: asyncio.Future[None] = asyncio.ensure_future(self._run(app, scope))

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        async def receive() -> Message:
            return {"type": "http.request"}

        await app(scope, receive, self._send)

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message["body"]


class Service:
    """An app whose requests end when the test says so, in the order they were begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._ends: list[asyncio.Future[Callable[[Send], Awaitable[None]]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.append(scope["path"])
        self._ends.append(asyncio.get_running_loop().create_future())
        await (await self._ends[-1])(send)

    def answer(self, number: int = 0) -> None:
        self.end(number, _whole)

    def fail(self, number: int) -> None:
        self.end(number, _broken)

    def begin_a_stream(self, number: int) -> None:
        self.end(number, _stream)

    def end(self, number: int, how: Callable[[Send], Awaitable[None]]) -> None:
        self._ends[number].set_result(how)

    def finish(self) -> None:
        for end in self._ends:
            if not end.done():
                end.set_result(_whole)


async def _whole(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _broken(send: Send) -> None:
    raise RuntimeError


async def _stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.Event().wait()


@asynccontextmanager
async def admitting(
    at_once: int = 1, burst: float = LONG, standing: float = LONG, slow: float = LONG
) -> AsyncIterator[tuple[Service, Callable[[str], Exchange]]]:
    service, made = Service(), []
    app = Admission(service, at_once, burst_seconds=burst, standing_seconds=standing, slow_seconds=slow)

    def ask(path: str) -> Exchange:
        made.append(Exchange(app, path))
        return made[-1]

    try:
        yield service, ask
    finally:
        for exchange in made:
            exchange.task.cancel()
        await asyncio.gather(*(exchange.task for exchange in made), return_exceptions=True)


async def turns() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_turns_are_given_in_the_order_of_coming() -> None:
    async with admitting(at_once=2) as (service, ask):
        for path in ("/api/a", "/api/b", "/api/c", "/api/d"):
            ask(path)
        await turns()
        assert service.begun == ["/api/a", "/api/b"]
        service.answer(1)
        await turns()
        assert service.begun == ["/api/a", "/api/b", "/api/c"]
        service.answer(0)
        service.answer(2)
        await turns()
        assert service.begun == ["/api/a", "/api/b", "/api/c", "/api/d"]


@pytest.mark.parametrize(
    "path", ["/health", "/health/ready", "/metrics", "/events/task-created", "/internal/v1/x"]
)
async def test_those_who_keep_promises_do_not_wait(path: str) -> None:
    async with admitting() as (service, ask):
        for _ in range(1 + WAITING_EACH):
            ask("/api/a")
        ask(path)
        await turns()
        assert service.begun == ["/api/a", path]


async def test_who_would_be_one_too_many_is_refused_at_once() -> None:
    async with admitting() as (service, ask):
        waiting = [ask("/api/a") for _ in range(1 + WAITING_EACH)]
        refused = ask("/api/b")
        await turns()
        assert [one.status for one in waiting] == [None] * (1 + WAITING_EACH)
        assert refused.status == 503
        problem = orjson.loads(refused.body)
        assert (problem["error_code"], problem["status"]) == ("overloaded", 503)
        least, most = RETRY_AFTER_SECONDS
        assert least <= int(refused.headers[b"retry-after"]) <= most
        # The next one who comes when there is room is taken.
        service.answer()
        ask("/api/c")
        await turns()
        assert service.begun == ["/api/a", "/api/a"]


class _Leaping(selectors.DefaultSelector):
    """Waits for no clock: the time that nobody has anything to do in is over at once, and was."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.passed += timeout or 0.0
        return super().select(0)


def _leaping_loop() -> asyncio.SelectorEventLoop:
    selector = _Leaping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.passed  # type: ignore[method-assign]
    return loop


def test_a_burst_may_wait_longer_than_a_queue_that_stands() -> None:
    async def story() -> None:
        async with admitting(burst=0.6, standing=0.01) as (service, ask):
            first, burst = ask("/api/a"), ask("/api/burst")
            await asyncio.sleep(0.55)
            assert (burst.status, burst.task.done()) == (None, False)
            await burst.task
            assert burst.status == 503
            # It was the whole queue: the next one begins a new one, and has as long.
            second, third = ask("/api/b"), ask("/api/c")
            service.answer()
            await first.task
            waiting = [third]
            now = asyncio.get_running_loop().time
            began = now()
            while now() - began < 0.7:
                # Somebody is waiting at any time, so that it stands; never so many that one is refused for that.
                waiting = [one for one in waiting if not one.task.done()]
                if len(waiting) < WAITING_EACH - 1:
                    waiting.append(ask("/api/d"))
                await asyncio.sleep(0.003)
                await turns()
            asked = now()
            late = ask("/api/late")
            await late.task
            assert late.status == 503
            assert now() - asked < 0.02
            assert (second.status, third.status) == (None, 503)

    loop = _leaping_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(story(), 60))
    finally:
        loop.close()


async def test_a_failure_gives_its_turn_on() -> None:
    async with admitting() as (service, ask):
        failing, following = ask("/api/a"), ask("/api/b")
        await turns()
        service.fail(0)
        await turns()
        assert isinstance(failing.task.exception(), RuntimeError)
        assert service.begun == ["/api/a", "/api/b"]
        assert following.status is None


async def test_a_stream_keeps_no_turn() -> None:
    async with admitting() as (service, ask):
        stream = ask("/api/stream")
        await turns()
        service.begin_a_stream(0)
        ask("/api/b")
        ask("/api/c")
        await turns()
        assert (stream.status, stream.task.done()) == (200, False)
        assert service.begun == ["/api/stream", "/api/b"]
        # And when it ends, it gives back nothing that it no longer had.
        stream.task.cancel()
        await turns()
        assert service.begun == ["/api/stream", "/api/b"]


async def test_who_is_slow_keeps_nobody_out() -> None:
    async with admitting(slow=1.0) as (service, ask):
        slow = ask("/api/slow")
        ask("/api/b")

        async def both_are_begun() -> bool:
            return service.begun == ["/api/slow", "/api/b"]

        await eventually(both_are_begun)
        # Its turn is gone: when it ends after all, it gives on none that another has.
        ask("/api/c")
        service.answer(0)
        service.begun.clear()
        await turns()
        assert slow.status == 200
        assert service.begun == []


async def test_who_is_cancelled_while_waiting_is_passed_over() -> None:
    async with admitting() as (service, ask):
        ask("/api/a")
        gone, following = ask("/api/gone"), ask("/api/b")
        await turns()

        async def cancel_and_answer(send: Send) -> None:
            gone.task.cancel()
            await _whole(send)  # when that one has not run since, and stands in the queue still

        service.end(0, cancel_and_answer)
        await turns()
        assert service.begun == ["/api/a", "/api/b"]
        assert following.status is None


async def test_who_is_cancelled_while_waiting_leaves_room() -> None:
    async with admitting() as (_, ask):
        ask("/api/a")
        for one in [ask("/api/gone") for _ in range(WAITING_EACH)]:
            await turns()
            one.task.cancel()
        await turns()
        patient = [ask("/api/b") for _ in range(WAITING_EACH)]
        await turns()
        assert [one.status for one in patient] == [None] * WAITING_EACH


async def test_who_is_cancelled_in_the_moment_of_getting_a_turn_hands_it_on() -> None:
    async with admitting() as (service, ask):
        ask("/api/a")
        gone = ask("/api/gone")
        await turns()

        async def answer_and_cancel(send: Send) -> None:
            await _whole(send)  # gives the turn to the other, who has not run since
            gone.task.cancel()

        service.end(0, answer_and_cancel)
        ask("/api/b")
        await turns()
        assert gone.task.cancelled()
        assert service.begun == ["/api/a", "/api/b"]


async def test_after_any_storm_there_is_room_again() -> None:
    async with admitting(at_once=3, burst=0.01, standing=0.001) as (service, ask):
        storm = [ask(f"/api/{number}") for number in range(200)]
        for number, one in enumerate(storm):
            if number % 7 == 0:
                one.task.cancel()
        service.finish()

        async def over() -> bool:
            service.finish()
            return all(one.task.done() for one in storm)

        await eventually(over)
        service.begun.clear()
        for path in ("/api/a", "/api/b", "/api/c", "/api/d"):
            ask(path)
        await turns()
        assert service.begun == ["/api/a", "/api/b", "/api/c"]
