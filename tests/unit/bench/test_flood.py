"""How long a server takes to come back counts from when the last request of a flood was due."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter

from bench.http_client import encode
from bench.load import Block, open_loop
from bench.overload.flood import Flood, Plan, overflow

_REQUEST = encode("GET", "/")
_GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


@asynccontextmanager
async def answering(each: float) -> AsyncIterator[int]:
    """Answer one request after another, each in so many seconds; gives the port."""
    turn = asyncio.Lock()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                async with turn:
                    await asyncio.sleep(each)
                writer.write(_GOOD)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1")
    async with server:
        yield server.sockets[0].getsockname()[1]


def _block(moments: Sequence[float], latency: float, refused: Sequence[float] = ()) -> Block:
    return Block(
        [latency] * len(moments), list(moments), [503] * len(refused), [0.01] * len(refused), list(refused), 9
    )


def _recovery(after: Block) -> float:
    return Flood(100, _block([0.1] * 100, 0.05), Block(), after).recovery_seconds


def test_it_is_over_when_nine_of_ten_are_as_before() -> None:
    assert _recovery(_block([0.1, 3.2], 0.05)) == 0
    assert _recovery(_block([0.1, 3.2], 0.06)) == 3.5
    assert _recovery(_block([0.1 * n for n in range(50)], 0.05, refused=[1.2])) == 1.5
    assert _recovery(Block([0.05] * 9 + [8.0], [2.1] * 10)) == 0, "one of ten"
    assert _recovery(Block([0.05] * 8 + [8.0] * 2, [2.1] * 10)) == 2.5


async def test_what_a_flood_left_behind_is_waited_for() -> None:
    """Sixty requests in a fifth of a second, answered at a hundred a second: the others wait for the rest."""
    async with answering(0.01) as port:
        during, after = await overflow(
            port, lambda _: _REQUEST, 100, Plan(saturate=0, flood=0.2, calm=0.5), connections=100
        )
    backlog = during.elapsed - 0.2
    assert backlog > 0.3
    assert max(after.latencies) > backlog / 2
    seen = Flood(100, _block([0.1] * 100, 0.03), during, after)
    assert seen.recovery_seconds > 0


async def test_waiting_for_a_connection_counts_where_the_moment_is_given() -> None:
    async with answering(0) as port:
        since = perf_counter()
        await asyncio.sleep(0.1)
        block = await open_loop(port, lambda _: _REQUEST, [0.0], connections=1, since=since)
    assert block.latencies[0] > 0.1
