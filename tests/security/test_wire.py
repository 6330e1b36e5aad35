"""What comes over a connection and is no plain request: cut off, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

import pytest
from tests.security.conftest import HEAD_BYTES, HEAD_SECONDS, REQUEST_SECONDS, Served

HOST = b"Host: x\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
"""Behind a proxy that sees another end of the body, this would be somebody else's request."""


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /told HTTP/1.1", b"Host: x", *headers, b"", body])


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"),
        post(b"Content-Length: 2", b"Content-Length: 40", body=b"{}" + HIDDEN),
        post(b"Content-Length: 2, 2", body=b"{}" + HIDDEN),
        post(b"Content-Length: +2", body=b"{}" + HIDDEN),
        post(b"Content-Length: -1", body=b"{}" + HIDDEN),
        post(b"Content-Length: 99999999999999999999999", body=b"{}" + HIDDEN),
        post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding: chunked", body=b"0x2\r\n{}\r\n0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding: chunked", body=b"-2\r\n{}\r\n0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding: chunked", body=b"ffffffffffffffff2\r\n{}\r\n0\r\n\r\n" + HIDDEN),
        post(b"Transfer-Encoding: chunked", body=b"2\n{}\r\n0\r\n\r\n" + HIDDEN),
        b"GET /here HTTP/1.1\nHost: x\n\n",
        b"GET /here HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
        b"GET /here HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_a_request_whose_end_is_in_doubt_is_refused(served: Served, request_bytes: bytes) -> None:
    heard = await served.say(request_bytes)
    assert heard.count(b"HTTP/1.1 ") == 1
    assert heard.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in heard.lower()
    assert json.loads(heard.partition(b"\r\n\r\n")[2])["error_code"] == "bad_request"


async def test_a_coding_that_is_not_taken_off_here_is_refused(served: Served) -> None:
    heard = await served.say(post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + HIDDEN))
    assert heard.startswith(b"HTTP/1.1 501 ")
    assert heard.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n"])
async def test_a_request_names_one_host(served: Served, hosts: bytes) -> None:
    heard = await served.say(b"GET /here HTTP/1.1\r\n" + hosts + b"\r\n")
    assert heard.startswith(b"HTTP/1.1 400 ")
    assert b'"bad_host"' in heard


async def test_a_made_up_host_is_not_repeated(served: Served) -> None:
    heard = await served.say(b"GET /here/?a=1 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 307 ")
    assert b"\r\nlocation: /here?a=1\r\n" in heard
    assert b"evil" not in heard


async def test_what_stands_in_a_body_is_body(served: Served) -> None:
    length = b"Content-Length: %d" % len(HIDDEN)
    heard = await served.say(post(length, b"Connection: close", body=HIDDEN))
    assert heard.count(b"HTTP/1.1 ") == 1
    assert json.loads(heard.partition(b"\r\n\r\n")[2])["body"] == HIDDEN.decode()


async def test_a_trailer_is_no_header(served: Served) -> None:
    chunked = (b"Transfer-Encoding: chunked", b"Connection: close", b"Trailer: dapr-api-token")
    heard = await served.say(post(*chunked, body=b"2\r\n{}\r\n0\r\ndapr-api-token: x\r\n\r\n"))
    headers = json.loads(heard.partition(b"\r\n\r\n")[2])["headers"].split(",")
    assert headers == ["connection", "host", "trailer", "transfer-encoding"]


async def test_what_came_whole_is_answered_though_nonsense_follows(served: Served) -> None:
    heard = await served.say(b"GET /here?seconds=0.3 HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
    assert heard.count(b"HTTP/1.1 ") == 1
    assert heard.startswith(b"HTTP/1.1 200 ")


async def _endless(served: Served, begin: bytes, part: bytes, at_most: int) -> tuple[bytes, int]:
    """What is heard, and how many bytes were taken before it ended."""
    reader, writer = await served.open()
    sent = 0
    with suppress(ConnectionError):
        writer.write(begin)
        while sent < at_most and not writer.is_closing():
            writer.write(part)
            await writer.drain()
            sent += len(part)
    heard = b""
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(5):
            heard = await reader.read(65536)
    writer.close()
    return heard, sent


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"GET /here HTTP/1.1\r\nHost: x\r\n", b"X: %s\r\n" % (b"y" * 8000)),
        (b"GET /here HTTP/1.1\r\nHost: x\r\nX: ", b"y" * 8000),
        (b"GET /here?", b"y" * 8000),
        (b"y", b"y" * 8000),
        (post(b"Transfer-Encoding: chunked", body=b"0\r\n"), b"X: %s\r\n" % (b"y" * 8000)),
        (post(b"Transfer-Encoding: chunked", body=b"0\r\nX: "), b"y" * 8000),
    ],
    ids=["headers", "header", "address", "method", "trailers", "trailer"],
)
async def test_a_head_that_does_not_end_is_not_kept(served: Served, begin: bytes, part: bytes) -> None:
    before, megabytes = served.memory(), 64 * 1024 * 1024
    heard, sent = await _endless(served, begin, part, megabytes)
    # What the system's own buffers hold is sent before the other side's answer is seen.
    assert sent < megabytes / 2
    assert served.memory() - before < megabytes / 4
    assert not heard or heard.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert await served.answers()


async def test_a_head_just_too_large_is_told_what_of_it(served: Served) -> None:
    heard = await served.say(b"GET /here HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"y" * HEAD_BYTES))
    assert heard.startswith(b"HTTP/1.1 431 ")
    assert b"16384 bytes" in heard


async def _dripped(served: Served, begin: bytes, drop: bytes, at_most: float) -> tuple[bytes, float]:
    """Send a drop five times a second. What is heard, and after how many seconds the connection was over."""
    reader, writer = await served.open()
    began, heard = time.monotonic(), b""
    with suppress(ConnectionError):
        writer.write(begin)
        while time.monotonic() - began < at_most:
            writer.write(drop)
            await writer.drain()
            with suppress(TimeoutError):
                part = await asyncio.wait_for(reader.read(65536), 0.2)
                if not part:
                    break
                heard += part
    writer.close()
    return heard, time.monotonic() - began


@pytest.mark.parametrize(
    ("begin", "drop", "first"),
    [
        (b"", b"", b""),
        (b"GET /here HTTP/1.1\r\nHost: x\r\nX: ", b"y", b"HTTP/1.1 408 "),
        (b"GET /", b"y", b"HTTP/1.1 408 "),
        (b"GET /here HTTP/1.1\r\nHost: x\r\n\r\nGET /", b"y", b"HTTP/1.1 200 "),
    ],
    ids=["nothing", "header", "address", "second"],
)
async def test_a_slow_head_is_cut_off_and_others_are_served(
    served: Served, begin: bytes, drop: bytes, first: bytes
) -> None:
    slow = asyncio.gather(*(_dripped(served, begin, drop, 10 * HEAD_SECONDS) for _ in range(50)))
    await asyncio.sleep(HEAD_SECONDS / 2)
    assert await served.answers()
    for heard, seconds in await slow:
        assert heard.startswith(first)
        assert HEAD_SECONDS * 0.9 <= seconds < HEAD_SECONDS + 2
    assert await served.answers()


async def test_a_slow_body_is_given_up_and_then_cut_off(served: Served) -> None:
    begin = post(b"Content-Length: 5000")
    slow = asyncio.gather(*(_dripped(served, begin, b" ", 30) for _ in range(50)))
    await asyncio.sleep(REQUEST_SECONDS / 2)
    assert await served.answers()
    for heard, seconds in await slow:
        assert heard.startswith(b"HTTP/1.1 503 ")
        assert seconds < REQUEST_SECONDS + HEAD_SECONDS + 2
    assert await served.answers()


async def test_who_waits_for_an_answer_is_not_late(served: Served) -> None:
    """The next request begins while one is answered, for longer than a head may take."""
    reader, writer = await served.open()
    writer.write(b"GET /here?seconds=%.1f HTTP/1.1\r\nHost: x\r\n\r\nGET /he" % (HEAD_SECONDS * 1.5))
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        await reader.readuntil(b'"here"')
        writer.write(b"re HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"HTTP/1.1 200 " in await reader.read(65536)
    writer.close()
