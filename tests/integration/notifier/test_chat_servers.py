"""What a chat server of somebody's own can cost: real servers that answer too much, without end, or nonsense."""

from __future__ import annotations

import asyncio
import gc
import gzip
import ssl
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from tests.integration.managed.authority import Authority

from notifier.adapters.apprise_chats import PLUGINS, AppriseChats
from notifier.adapters.guarded_requests import LARGEST_ANSWER
from notifier.application.errors import ChannelRefused, ChannelUnavailable
from notifier.domain.contact import Chat
from notifier.domain.outbound import OutboundRule
from notifier.domain.wording import Message

HOST = "127.0.0.1"
RULE = OutboundRule((ip_network("127.0.0.0/8"),))
TIMEOUT = 2.0
MIB = 2**20
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


class Server:
    """Gives every request the same answer, and counts."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self.asked = 0
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Server]:
        server = await asyncio.start_server(self._serve, HOST, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            [length] = [
                int(line.partition(b":")[2])
                for line in head.splitlines()
                if line.lower().startswith(b"content-length")
            ]
            await reader.readexactly(length)
            await self._answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def saying(body: bytes, *headers: str, status: int = 200) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


def endless(part: bytes, *headers: str, every: float = 0) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(["HTTP/1.1 200 Said", *headers, "", ""]).encode())
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(every)

    return answer


def room(port: int, url: str = "ntfy://{host}/tasks") -> Chat:
    return Chat(uuid4(), url.format(host=f"{HOST}:{port}"))


def message() -> Message:
    now = datetime.now(UTC)
    return Message(uuid4(), uuid4(), uuid4(), uuid4(), "Feed the cat", "Feed the cat", "now", None, None, now)


@pytest.fixture
def chats() -> Iterator[AppriseChats]:
    with closing(AppriseChats(RULE, timeout=TIMEOUT, threads=2)) as it:
        yield it


@contextmanager
def little_memory() -> Iterator[None]:
    """Some copies of the largest answer that is read, and the message itself; not what could be unpacked."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MIB, f"{peak / MIB:.0f} MiB"


BOMB = gzip.compress(bytes(16 * MIB)) * 64
"""A gibibyte in a megabyte."""


@pytest.mark.parametrize(
    "url",
    [
        "ntfy://{host}/tasks",
        "gotify://{host}/token",
        "matrix://ada:secret@{host}/%23tasks",
        "mmost://{host}/token",
        "rocket://ada:secret@{host}/%23tasks",
        "signal://{host}/491701234567/491707654321",
    ],
)
async def test_what_unpacks_to_more_than_is_read_is_not_unpacked(chats: AppriseChats, url: str) -> None:
    assert 0.9 * LARGEST_ANSWER < len(BOMB) < LARGEST_ANSWER
    async with Server(saying(BOMB, "Content-Encoding: gzip")).serving() as server:
        with little_memory(), pytest.raises(ChannelRefused, match="answer is too large"):
            await chats.say(room(server.port, url), message())
    assert server.asked


@pytest.mark.parametrize(
    "answer",
    [
        endless(b"x" * 65_536),
        endless(b"8000\r\n" + b"x" * 32_768 + b"\r\n", "Transfer-Encoding: chunked"),
        endless(gzip.compress(b"") * 4_000, "Content-Encoding: gzip"),
        endless(b"x" * 65_536, "Content-Encoding: gzip", "Location: /there"),
        saying(gzip.compress(gzip.compress(b"{}")), "Content-Encoding: gzip, gzip"),
    ],
    ids=["plain", "chunked", "packed nothing", "not packed at all", "packed twice"],
)
async def test_an_answer_without_end_is_not_waited_for(chats: AppriseChats, answer: Answer) -> None:
    began = time.monotonic()
    async with Server(answer).serving() as server:
        with little_memory(), pytest.raises(ChannelRefused, match="answer is too large"):
            await chats.say(room(server.port), message())
    assert time.monotonic() - began < TIMEOUT


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", ()),
        (gzip.compress(b"{}"), ("Content-Encoding: gzip",)),
        (gzip.compress(b"{") + gzip.compress(b"}"), ("Content-Encoding: gzip",)),
        (b'{"is": "' + b"x" * (LARGEST_ANSWER - 10) + b'"}', ()),
    ],
    ids=["plain", "packed", "packed in parts", "just not too large"],
)
async def test_an_ordinary_answer_is_read(chats: AppriseChats, body: bytes, headers: tuple[str, ...]) -> None:
    async with Server(saying(body, *headers)).serving() as server:
        await chats.say(room(server.port), message())
    assert server.asked == 1


async def test_what_a_plugin_reads_is_what_was_said(chats: AppriseChats) -> None:
    """Matrix signs in, and speaks only to whom it was told that it may."""
    said = gzip.compress(
        b'{"access_token": "t", "user_id": "@ada:home", "joined_rooms": [], "room_id": "!1:home"}'
    )
    async with Server(saying(said, "Content-Encoding: gzip")).serving() as server:
        await chats.say(room(server.port, "matrix://ada:secret@{host}/%23tasks?e2ee=no"), message())
    assert server.asked > 1


@pytest.mark.parametrize("asking", ["", "?redirect=yes"])
async def test_a_redirect_is_not_followed(chats: AppriseChats, asking: str) -> None:
    async with Server(saying(b"{}")).serving() as inner:
        there = f"Location: http://{HOST}:{inner.port}/tasks"
        async with Server(saying(b"", there, status=307)).serving() as server:
            with pytest.raises(ChannelUnavailable):
                await chats.say(room(server.port, "ntfy://{host}/tasks" + asking), message())
        assert (server.asked, inner.asked) == (1, 0)


async def test_an_answer_that_nobody_can_make_sense_of_is_tried_again(chats: AppriseChats) -> None:
    nested = b"[" * 500_000
    for body in (nested, b"not packed"):
        packed = ("Content-Encoding: gzip",) if body != nested else ()
        async with Server(saying(body, *packed, status=500)).serving() as server:
            with pytest.raises(ChannelUnavailable):
                await chats.say(room(server.port), message())


async def test_an_answer_by_the_byte_holds_no_thread_by_tls_either(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name, text in zip(("certificate", "key"), Authority("A home").issue(HOST), strict=True):
        (tmp_path / name).write_text(text)
    tls.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    drips, answers = Server(endless(b"x", every=0.05), tls), Server(saying(b"{}"))
    with closing(AppriseChats(RULE, timeout=TIMEOUT, threads=1)) as chats:
        async with drips.serving(), answers.serving():
            with pytest.raises(ChannelUnavailable, match="no answer in time"):
                await chats.say(room(drips.port, "ntfys://{host}/tasks?verify=no"), message())
            assert drips.asked == 1
            await chats.say(room(answers.port), message())
    assert answers.asked == 1


async def test_what_is_thrown_away_outside_of_its_message_says_no_more() -> None:
    plugin = PLUGINS["matrix"]

    def throw_away(url: str) -> None:
        parsed = plugin.parse_url(url)
        assert parsed is not None
        signed_in = plugin(**parsed)
        vars(signed_in)["access_token"] = "t"
        del signed_in
        gc.collect()

    async with Server(saying(b"{}")).serving() as server:
        await asyncio.to_thread(throw_away, f"matrix://ada:secret@{HOST}:{server.port}/%23tasks")
    assert server.asked == 0


async def test_others_read_what_they_like() -> None:
    """Traces leave this process by the same library."""
    async with Server(saying(b"x" * (2 * LARGEST_ANSWER))).serving() as server:
        answer = await asyncio.to_thread(requests.post, f"http://{HOST}:{server.port}", data=b"x", timeout=5)
    assert len(answer.content) == 2 * LARGEST_ANSWER
