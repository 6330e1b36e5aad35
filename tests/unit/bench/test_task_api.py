"""Lists are measured in pairs on a made-up server, and the goals of task-api are there to be missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import orjson
import psutil
import pytest
from bench.load import Block
from bench.machine import Stolen
from bench.place import Served
from bench.postgres import Store
from bench.task_api import lists
from bench.task_api.measure import RequestsRefused, Series
from bench.task_api.part import figures_of


class FilledStore(Store):
    """Notes who has how many tasks."""

    def __init__(self) -> None:
        self.filled: dict[UUID, int] = {}

    async def clear(self) -> None:
        self.filled.clear()

    async def fill(self, owners: Sequence[UUID], first: int, last: int) -> None:
        self.filled[owners[0]] = last - first + 1


@asynccontextmanager
async def serving(store: FilledStore, each: float, status: int = 200) -> AsyncIterator[Served]:
    """Register whoever asks; a list takes `each` seconds for every thousand tasks."""
    people: dict[str, UUID] = {}
    asked: list[UUID] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
                fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
                sent = orjson.loads(await reader.readexactly(int(fields.get("content-length", 0))) or b"{}")
                if head.startswith("get"):
                    who = UUID(fields["authorization"].removeprefix("bearer "))
                    asked.append(who)
                    await asyncio.sleep(each * store.filled[who] / 1_000)
                    body, code = b"{}", status
                else:
                    mine = str(people.setdefault(sent["email"], uuid4()))
                    body, code = orjson.dumps({"user": {"id": mine}, "access_token": mine}), 200
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (code, len(body), body))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1")
    async with server:
        yield Served("task-api", server.sockets[0].getsockname()[1], psutil.Process())


_PLAN = lists.Plan(few=1_000, many=3_000, seconds=0.3, pairs=3)


async def test_lists_of_many_are_compared_with_lists_of_few() -> None:
    store = FilledStore()
    async with serving(store, each=0.02) as server:
        seen = await lists.measure(server, store, _PLAN)
    assert sorted(store.filled.values()) == [1_000, 3_000]
    assert (len(seen.few.blocks), len(seen.many.blocks)) == (3, 3)
    assert seen.ratios == sorted(seen.ratios)
    assert seen.ratios[1] > 1.5
    assert seen.many.p95 > 0.05
    assert seen.few.cpu_each >= 0


async def test_a_list_that_is_refused_ends_the_run() -> None:
    store = FilledStore()
    async with serving(store, each=0.01, status=503) as server:
        with pytest.raises(RequestsRefused):
            await lists.measure(server, store, _PLAN)


def _row(route: str, load: str, ratio: float, resident: int) -> dict[str, Any]:
    side = {"per_second": 100.0, "p95_ms": 10.0, "cpu_ms_a_request": 1.0, "resident_mib": resident}
    return {"route": route, "load": load, "ratio": ratio, "task_api": side, "baseline": side}


def test_creates_and_memory_have_goals() -> None:
    rows = [
        _row("create", "1 clients", 2.0, 100),
        _row("create", "10 clients", 3.9, 257),
        _row("create", "100 clients", 4.1, 200),
        _row("create", "open, 70% load", 2.0, 200),
        _row("get", "10 clients", 2.0, 200),
    ]
    met = {figure.name: figure.met for figure in figures_of(rows) if figure.goal is not None}
    assert met == {
        "create, 10 clients": False,
        "create, 100 clients": True,
        "create, open, 70% load, p95": True,
        "memory at most": False,
    }
    assert figures_of([]) == []


def test_one_block_in_which_the_host_served_others_does_not_make_the_latency() -> None:
    calm, disturbed = [0.01] * 90 + [0.02] * 10, [0.5] * 100
    blocks = [Block(latencies=list(these), elapsed=1.0) for these in (calm, disturbed, calm)]
    row = Series(blocks, cpu=[0.1, 0.1, 0.1], stolen=[0.0, 0.3, 0.0]).row()
    assert (row["p50_ms"], row["p95_ms"]) == (10.0, 20.0)
    assert row["p95_ms_of_blocks"] == [20.0, 20.0, 500.0]
    assert row["stolen"] == 0.1


def test_stolen_time_is_a_part_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    class Times:
        steal = 5.0

    monkeypatch.setattr("bench.machine.psutil.cpu_times", Times)
    monkeypatch.setattr("bench.machine.os.cpu_count", lambda: 2)
    monkeypatch.setattr("bench.machine.time.monotonic", iter([100.0, 104.0]).__next__)
    stolen = Stolen()
    Times.steal = 7.0
    assert stolen.share() == 0.25
