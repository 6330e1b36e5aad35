"""Who may ask what rules give, and how often, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from redis.asyncio import Redis

from recurrence.app import build
from recurrence.settings import RecurrenceSettings
from service_kit.revocations import MIRROR_KEY, RevocationMirror
from service_kit.testing.fakes import RecordingSidecar
from service_kit.testing.tokens import SigningKey, make_token

RULE = {"rrule": "FREQ=DAILY", "start": "2026-03-31", "timezone": "Europe/Berlin"}
PREVIEW, PARSE = "/api/v1/recurrence/preview", "/api/v1/recurrence/parse"


class Caller:
    """Users of one service that lets each of them pass three times a minute."""

    def __init__(self, key: SigningKey, http: httpx.AsyncClient) -> None:
        self._key = key
        self._http = http

    async def preview(self, user: UUID, login: UUID | None = None) -> httpx.Response:
        return await self._http.post(PREVIEW, json=RULE, headers=self._of(user, login))

    async def parse(self, user: UUID) -> httpx.Response:
        return await self._http.post(PARSE, json={"text": "every day"}, headers=self._of(user))

    async def stranger(self) -> httpx.Response:
        return await self._http.post(PREVIEW, json=RULE)

    def _of(self, user: UUID, login: UUID | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {make_token(self._key, user, family_id=login)}"}


def _settings(url: str, *, limited: bool) -> RecurrenceSettings:
    return RecurrenceSettings(
        app_api_token=SecretStr("app-token"),
        dapr_api_token=SecretStr("dapr-token"),
        redis_url=SecretStr(url),
        environment="test",
        rate_limits_enabled=limited,
        rate_limit_rules=3,
    )


@pytest_asyncio.fixture(loop_scope="session")
async def caller(redis: Redis, redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    key, sidecar = SigningKey(), RecordingSidecar()
    sidecar.on_invoke("task-api", "/.well-known/jwks.json", json=key.jwks)
    await RevocationMirror(redis).fill([])
    app = build(_settings(redis_url, limited=getattr(request, "param", True)), redis=redis, sidecar=sidecar)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
        yield Caller(key, http)


async def test_a_user_has_so_many_a_minute_for_both_and_no_other_pays_for_it(caller: Caller) -> None:
    user = uuid4()
    answers = [await caller.preview(user), await caller.parse(user), await caller.preview(user)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0"]
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"3"}
    for refused in (await caller.preview(user), await caller.parse(user)):
        assert refused.status_code == 429
        assert refused.json()["error_code"] == "too_many_requests"
        assert 0 < int(refused.headers["retry-after"]) <= 20
    assert (await caller.preview(uuid4())).status_code == 200
    assert (await caller.stranger()).status_code == 401


@pytest.mark.parametrize("caller", [False], indirect=True)
async def test_limits_can_be_switched_off(caller: Caller) -> None:
    user = uuid4()
    answers = [await caller.preview(user) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit-limit" not in answers[0].headers


async def test_an_ended_session_is_outside_and_nobody_gets_in_while_that_is_unknown(
    redis: Redis, caller: Caller
) -> None:
    ended, other = uuid4(), uuid4()
    assert (await caller.preview(uuid4(), ended)).status_code == 200
    await RevocationMirror(redis, 60).add(ended)
    answers = [await caller.preview(uuid4(), login) for login in (ended, other)]
    assert [answer.status_code for answer in answers] == [401, 200]
    await redis.delete(MIRROR_KEY)
    unknown = await caller.preview(uuid4(), other)
    assert (unknown.status_code, unknown.json()["error_code"]) == (503, "sessions_unknown")
