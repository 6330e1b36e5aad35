"""Settings and the smallest service for the unit tests of the kit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from pydantic import SecretStr

from service_kit.http_app import install_http
from service_kit.settings import ServiceSettings
from service_kit.telemetry import shutdown_telemetry


@pytest.fixture
def settings() -> ServiceSettings:
    return ServiceSettings(
        service_name="reminders",
        app_port=8001,
        app_api_token=SecretStr("app-token-of-the-test"),
        dapr_api_token=SecretStr("dapr-token-of-the-test"),
        redis_url=SecretStr("redis://:redis-password@127.0.0.1:1/0"),
    )


@pytest.fixture
def app(settings: ServiceSettings) -> FastAPI:
    """An empty service with the kit's HTTP around it."""
    service = FastAPI()
    install_http(service, settings)
    return service


@pytest_asyncio.fixture(loop_scope="session")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Calls `app` without a network; routes may still be added before the first call."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as caller:
        yield caller


@pytest.fixture
def sidecar_headers(settings: ServiceSettings) -> dict[str, str]:
    """What the own sidecar sends with each call."""
    return {"dapr-api-token": settings.app_api_token.get_secret_value()}


@pytest.fixture(autouse=True)
def no_exporter() -> Iterator[None]:
    """No test leaves an exporter behind."""
    yield
    shutdown_telemetry()


Sample = Callable[..., float]


@pytest.fixture
def sample() -> Sample:
    """Read one metric's value now; 0 when it was never counted."""
    from prometheus_client import REGISTRY

    def read(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    return read
