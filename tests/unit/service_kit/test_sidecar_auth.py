"""Routes that are not for clients: the own sidecar's, and the siblings'."""

from __future__ import annotations

import httpx
import pytest
from fastapi import Depends, FastAPI

from service_kit.settings import ServiceSettings
from service_kit.sidecar_auth import require_own_sidecar, require_sibling

TOKEN = {"dapr-api-token": "app-token-of-the-test"}
CALLER = {"dapr-caller-app-id": "recurrence"}


@pytest.fixture(autouse=True)
def routes(app: FastAPI, settings: ServiceSettings) -> None:
    @app.post("/events/x", dependencies=[Depends(require_own_sidecar(settings))])
    async def event(number: int) -> int:
        return number

    @app.get("/internal", dependencies=[Depends(require_sibling(settings, "recurrence", "reminders"))])
    async def internal() -> str:
        return "here"


async def test_the_own_sidecar_passes(client: httpx.AsyncClient) -> None:
    assert (await client.post("/events/x?number=1", headers=TOKEN)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"dapr-api-token": ""},
        {"dapr-api-token": "app-token-of-the-tesT"},
        {"dapr-api-token": "dapr-token-of-the-test"},
        {"authorization": "Bearer app-token-of-the-test"},
        TOKEN | CALLER,
        TOKEN | {"dapr-caller-app-id": ""},
    ],
)
async def test_nobody_else_does(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post("/events/x?number=1", headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "forbidden")
    assert "app-token-of-the-test" not in answer.text


async def test_odd_bytes_in_a_token_are_just_wrong(client: httpx.AsyncClient) -> None:
    odd = [(b"dapr-api-token", b"\xff\xfe")]
    assert (await client.post("/events/x?number=1", headers=odd)).status_code == 403


async def test_a_sibling_passes(client: httpx.AsyncClient) -> None:
    assert (await client.get("/internal", headers=TOKEN | CALLER)).json() == "here"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        TOKEN,
        CALLER,
        TOKEN | {"dapr-caller-app-id": "notifier"},
        TOKEN | {"dapr-caller-app-id": ""},
        {"dapr-api-token": "wrong"} | CALLER,
    ],
)
async def test_strangers_do_not(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await client.get("/internal", headers=headers)).status_code == 403


async def test_two_callers_in_one_call_are_none(client: httpx.AsyncClient) -> None:
    both = [*TOKEN.items(), *CALLER.items(), ("dapr-caller-app-id", "stranger")]
    assert (await client.get("/internal", headers=both)).status_code == 403
