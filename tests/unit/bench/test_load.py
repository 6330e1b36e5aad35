"""The load client counts what it must: whole answers, and waiting from the moment that was planned."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from bench.http_client import Answer, Connection, ConnectionBroken, encode
from bench.load import arrivals, closed_loop, open_loop

_REQUEST = encode("GET", "/")
Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[int]:
    """Answer each request of each connection by `reply`; gives the port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reply(writer)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1")
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(pieces: list[bytes]) -> Answer:
    async def reply(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.005)

    async with serving(reply) as port:
        connection = await Connection.to(port)
        try:
            return await connection.ask(_REQUEST)
        finally:
            connection.close()


async def test_an_answer_may_come_in_pieces() -> None:
    pieces = [b"HTTP/1.1 201 Created\r\ncontent-le", b"ngth: 5\r\nx: y\r\n\r", b"\nab", b"cde"]
    assert await ask(pieces) == Answer(201, b"abcde")


async def test_an_answer_may_have_no_body() -> None:
    assert await ask([b"HTTP/1.1 204 No Content\r\n\r\n"]) == Answer(204, b"")


async def test_an_answer_without_a_length_is_refused() -> None:
    with pytest.raises(ConnectionBroken):
        await ask([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"])


async def good(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def test_a_closed_loop_counts_what_was_refused_apart() -> None:
    answered = 0

    async def every_other(writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        answered += 1
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % (200 if answered % 2 else 503))

    async with serving(every_other) as port:
        block = await closed_loop(port, lambda _: _REQUEST, clients=1, seconds=0.05)
    assert set(block.refused) == {503}
    assert abs(len(block.latencies) - len(block.refused)) <= 1


async def test_what_waits_behind_a_stall_says_so() -> None:
    """One connection; the first answer takes 200 ms, and three more requests are due meanwhile."""
    stalls = iter([0.2])

    async def stalling(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(next(stalls, 0))
        await good(writer)

    async with serving(stalling) as port:
        block = await open_loop(port, lambda _: _REQUEST, [0.0, 0.01, 0.02, 0.03], connections=1)
    assert len(block.latencies) == 4
    assert min(block.latencies) > 0.15


def test_arrivals_come_at_the_rate_and_by_chance() -> None:
    moments = arrivals(rate=1_000, seconds=10, seed=1)
    assert 9_500 < len(moments) < 10_500
    assert moments == sorted(moments)
    assert moments[-1] < 10
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert max(gaps) > 5 * min(gaps)
    assert moments == arrivals(rate=1_000, seconds=10, seed=1)
