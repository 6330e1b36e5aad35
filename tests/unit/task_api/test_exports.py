"""An export is whole before its answer begins, and its reader holds nothing but a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from starlette.responses import Response

from service_kit.problems import Problem
from task_api.domain.errors import StorageUnavailable
from task_api.entrypoints.http import people_data
from task_api.entrypoints.http.people_data import IN_MEMORY_BYTES, Exports

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
ADA, BOB = uuid4(), uuid4()


class Rows:
    """A database with three sections, the middle one empty; `reading` says how many read from it now."""

    def __init__(self, *, size: int = 1, fails: bool = False) -> None:
        self.size = size
        self.fails = fails
        self.reading = 0
        self.most = 0
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    def sections(self, for_import: bool) -> tuple[str, ...]:
        del for_import
        return ("profile", "tasks", "audit")

    async def rows(self, user_id: UUID, for_import: bool) -> AsyncGenerator[tuple[str, bytes], None]:
        del for_import
        self.reading += 1
        self.most = max(self.most, self.reading)
        self.began.set()
        try:
            yield "profile", orjson.dumps({"id": str(user_id)})
            await self.go.wait()
            if self.fails:
                raise StorageUnavailable("gone half way")
            for number in range(self.size):
                yield "audit", orjson.dumps({"number": number, "text": "x" * 1000})
        finally:
            self.reading -= 1


async def sent(answer: Response) -> bytes:
    """What a client reads to its end."""
    body = bytearray()

    async def send(message: Any) -> None:
        body.extend(message.get("body", b""))

    async def receive() -> Any:
        await asyncio.Event().wait()

    await answer({"type": "http", "method": "GET"}, receive, send)
    return bytes(body)


@pytest.mark.parametrize("size", [0, 3, IN_MEMORY_BYTES // 1000 + 100])
async def test_the_document_is_whole_and_says_how_long_it_is(size: int) -> None:
    answer = await Exports(Rows(size=size)).answer(ADA, AT)
    body = await sent(answer)
    document = orjson.loads(body)
    assert int(answer.headers["content-length"]) == len(body)
    assert document["made_at"] == "2026-01-05T09:00:00Z"
    assert document["profile"] == [{"id": str(ADA)}]
    assert document["tasks"] == []
    assert [line["number"] for line in document["audit"]] == list(range(size))


async def test_a_database_that_goes_away_is_no_answer_of_200() -> None:
    rows = Rows(fails=True)
    exports = Exports(rows)
    with pytest.raises(StorageUnavailable):
        await exports.answer(ADA, AT)
    assert rows.reading == 0
    rows.fails = False
    assert await sent(await exports.answer(ADA, AT))


async def test_a_slow_reader_holds_no_connection_and_is_in_nobodys_way() -> None:
    rows = Rows()
    exports = Exports(rows)
    slow = await exports.answer(ADA, AT)  # nobody reads it yet
    assert rows.reading == 0
    assert await sent(await exports.answer(BOB, AT))
    with pytest.raises(Problem) as refused:
        await exports.answer(ADA, AT)
    assert (refused.value.status, refused.value.error_code) == (409, "export_running")
    await sent(slow)
    assert await sent(await exports.answer(ADA, AT))


async def test_one_after_the_other_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_data, "TURN_SECONDS", 0.05)
    rows = Rows()
    rows.go.clear()  # Ada's is being read and does not end
    exports = Exports(rows)
    first = asyncio.create_task(exports.answer(ADA, AT))
    await rows.began.wait()
    with pytest.raises(StorageUnavailable):
        await exports.answer(BOB, AT)
    rows.go.set()
    await sent(await first)
    assert await sent(await exports.answer(BOB, AT))
    assert rows.most == 1


async def test_a_client_that_leaves_frees_its_turn() -> None:
    exports = Exports(Rows(size=500))

    async def gone(_: Any) -> None:
        raise OSError("the client left")

    answer = await exports.answer(ADA, AT)
    with pytest.raises(BaseException):  # noqa: B017 - whatever the framework makes of it
        await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, asyncio.Event().wait, gone)  # type: ignore[arg-type]
    assert await sent(await exports.answer(ADA, AT))
