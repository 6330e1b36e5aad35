"""Whether the sidecar may deliver: off for long enough once it was, and once the sidecar dropped its subscriptions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import orjson
import pytest
import pytest_asyncio
from fastapi import FastAPI

from service_kit import deliveries as module
from service_kit import health
from service_kit.health import Dependency, install_health
from service_kit.http_app import install_http
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Answer, SidecarAbsent, SidecarUnavailable
from service_kit.testing.fakes import AnsweringSidecar


class Store:
    """A store that a test takes away."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.dependency = Dependency("redis", self.check, critical=True)

    async def check(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def redis() -> Store:
    return Store()


class Seconds:
    """The seconds that answers are kept by and deliveries settle by."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    passing = Seconds()
    for one in (health, module):
        monkeypatch.setattr(one, "monotonic", passing)
    return passing


class Daprd:
    """A sidecar that says what it is subscribed to, or is not there."""

    def __init__(self) -> None:
        self.subscriptions: list[dict[str, str]] = []
        self.answers: Callable[[httpx.Request], Answer] = self._metadata

    def _metadata(self, _: httpx.Request) -> Answer:
        return Answer(200, orjson.dumps({"subscriptions": self.subscriptions}))

    def refuse(self, request: httpx.Request) -> Answer:
        raise SidecarAbsent("refused")

    def hang(self, request: httpx.Request) -> Answer:
        raise SidecarUnavailable("slow")


@pytest.fixture
def daprd() -> Daprd:
    return Daprd()


@pytest.fixture
def service(settings: ServiceSettings) -> FastAPI:
    app = FastAPI()
    install_http(app, settings)
    return app


@pytest_asyncio.fixture(loop_scope="session")
async def beside(
    settings: ServiceSettings, redis: Store, daprd: Daprd, service: FastAPI
) -> AsyncIterator[httpx.AsyncClient]:
    """Calls an app that has that sidecar."""
    sidecar = AnsweringSidecar(settings, lambda request: daprd.answers(request))
    install_health(service, settings, [redis.dependency], sidecar)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://test") as caller:
        yield caller
    await sidecar.aclose()


async def deliveries(client: httpx.AsyncClient) -> int:
    return (await client.get("/health/deliveries")).status_code


@pytest.mark.parametrize("there", [True, False], ids=["fresh", "absent"])
async def test_a_sidecar_without_subscriptions_may_deliver_at_once(
    beside: httpx.AsyncClient, daprd: Daprd, there: bool
) -> None:
    if not there:
        daprd.answers = daprd.refuse
    assert await deliveries(beside) == 200


@pytest.mark.parametrize("slow", [False, True], ids=["subscribed", "no answer"])
async def test_a_sidecar_of_an_earlier_process_waits(
    beside: httpx.AsyncClient, daprd: Daprd, seconds: Seconds, slow: bool
) -> None:
    daprd.subscriptions = [{"topic": "task-created"}]
    if slow:
        daprd.answers = daprd.hang
    assert await deliveries(beside) == 503
    assert (await beside.get("/health/ready")).status_code == 200
    for _ in range(8):
        seconds.now += 1
        assert await deliveries(beside) == 503
    seconds.now += 1
    assert await deliveries(beside) == 200


async def _lost(beside: httpx.AsyncClient, redis: Store, seconds: Seconds) -> None:
    """Let the store be away for so long that deliveries stop."""
    assert await deliveries(beside) == 200
    seconds.now += 1
    redis.error = OSError()
    for _ in range(5):
        assert await deliveries(beside) == 200
        assert (await beside.get("/health/ready")).status_code == 503
        seconds.now += 1
    assert await deliveries(beside) == 503


async def test_a_store_that_is_away_for_a_moment_is_waited_for(
    beside: httpx.AsyncClient, redis: Store, seconds: Seconds
) -> None:
    for _ in range(3):
        for error in (None, OSError(), OSError(), OSError()):
            redis.error = error
            assert await deliveries(beside) == 200
            seconds.now += 1.2


async def test_deliveries_that_were_off_stay_off_for_a_while(
    beside: httpx.AsyncClient, redis: Store, seconds: Seconds
) -> None:
    await _lost(beside, redis, seconds)
    redis.error = None
    for _ in range(8):
        seconds.now += 1
        assert await deliveries(beside) == 503
    assert (await beside.get("/health/ready")).status_code == 200
    seconds.now += 1
    assert await deliveries(beside) == 200


async def test_what_was_never_on_needs_no_wait(
    beside: httpx.AsyncClient, redis: Store, seconds: Seconds
) -> None:
    redis.error = OSError()
    assert await deliveries(beside) == 503
    redis.error = None
    seconds.now += 1
    assert await deliveries(beside) == 200


async def test_a_stall_turns_deliveries_off(beside: httpx.AsyncClient, seconds: Seconds) -> None:
    assert await deliveries(beside) == 200
    seconds.now += 1
    assert await deliveries(beside) == 200
    seconds.now += 2.6
    assert await deliveries(beside) == 503
    for _ in range(8):
        seconds.now += 1
        assert await deliveries(beside) == 503
    seconds.now += 1
    assert await deliveries(beside) == 200


Sign = Callable[[str, str], Awaitable[int]]


@pytest.fixture
def sign(beside: httpx.AsyncClient, sidecar_headers: dict[str, str]) -> Sign:
    """What the sidecar asks besides."""

    async def ask(method: str, path: str) -> int:
        return (await beside.request(method, path, headers=sidecar_headers)).status_code

    return ask


async def test_a_sidecar_that_subscribes_when_it_is_due_goes_on(
    beside: httpx.AsyncClient, redis: Store, seconds: Seconds, sign: Sign
) -> None:
    assert await sign("GET", "/dapr/config") == 200
    assert await deliveries(beside) == 200
    assert await sign("OPTIONS", "/subscribed") == 200
    assert await deliveries(beside) == 200, "the first time"
    await _lost(beside, redis, seconds)
    redis.error = None
    seconds.now += 11
    assert await deliveries(beside) == 200
    assert await sign("OPTIONS", "/subscribed") == 200
    assert await deliveries(beside) == 200, "after an outage"
    assert await sign("GET", "/dapr/config") == 200
    assert await sign("OPTIONS", "/subscribed") == 200
    assert await deliveries(beside) == 200, "a sidecar that was started anew"


async def test_a_sidecar_that_had_dropped_the_subscriptions_is_made_to_drop_them_in_good_order(
    beside: httpx.AsyncClient, seconds: Seconds, sign: Sign, sample: Callable[..., float]
) -> None:
    before = sample("deliveries_off_total", why="resubscribed")
    assert await deliveries(beside) == 200
    await sign("OPTIONS", "/subscribed")
    assert await deliveries(beside) == 200
    # An answer came too late for daprd: it was away from the topics for a moment.
    await sign("OPTIONS", "/subscribed")
    for _ in range(9):
        assert await deliveries(beside) == 503
        seconds.now += 1
    assert await deliveries(beside) == 200
    await sign("OPTIONS", "/subscribed")
    assert await deliveries(beside) == 200
    assert sample("deliveries_off_total", why="resubscribed") == before + 1


@pytest.mark.parametrize(
    "asked", [("GET", "/dapr/config"), ("OPTIONS", "/subscribed"), ("POST", "/subscribed")]
)
async def test_only_the_own_sidecar_gives_signs(beside: httpx.AsyncClient, asked: tuple[str, str]) -> None:
    assert (await beside.request(*asked)).status_code == 403


async def test_the_tick_of_the_sign_does_nothing(sign: Sign) -> None:
    assert await sign("POST", "/subscribed") == 200
