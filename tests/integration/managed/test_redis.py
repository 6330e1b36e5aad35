"""Redis that speaks TLS alone: the client of the services and that of the operators' command."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisAway
from tests.integration.managed.authority import Authority
from tests.integration.managed.conftest import Given
from typer.testing import CliRunner

from reminders.settings import RemindersSettings
from service_kit.redis_connection import connect_redis
from service_kit.settings import load_settings
from taskstream_cli.__main__ import app


@pytest.fixture
def reminders(given: Given, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of reminders' pod, which are set."""
    environment = given("reminders")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


async def _ping() -> bool:
    redis = connect_redis(load_settings(RemindersSettings))
    try:
        return bool(await redis.ping())
    finally:
        await redis.aclose()


@pytest.mark.usefixtures("reminders")
def test_a_service_and_the_command_are_let_in(given: Given) -> None:
    assert asyncio.run(_ping())
    done = CliRunner().invoke(app, ["doctor"], env=given("taskstream-doctor"))
    assert "redis       7" in done.stdout
    assert "!  redis" not in done.stdout


@pytest.mark.usefixtures("reminders")
@pytest.mark.parametrize("signer", ["stranger", "system"])
def test_another_authority_is_refused(
    given: Given, stranger: Authority, monkeypatch: pytest.MonkeyPatch, signer: str
) -> None:
    authority = stranger.pem if signer == "stranger" else ""
    monkeypatch.setenv("REDIS_CA", authority)
    with pytest.raises(RedisAway, match="certificate verify failed"):
        asyncio.run(_ping())
    doctor = {**given("taskstream-doctor"), "REDIS_CA": authority}
    done = CliRunner().invoke(app, ["doctor"], env=doctor)
    assert "!  redis       It does not let us in" in done.stdout
    assert "certificate verify failed" in done.stdout


def test_an_authority_without_tls_stops_the_start(
    reminders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", reminders["REDIS_URL"].replace("rediss://", "redis://"))
    with pytest.raises(SystemExit, match="nothing is verified by REDIS_CA: give REDIS_URL as rediss://"):
        load_settings(RemindersSettings)
    monkeypatch.setenv("REDIS_CA", "certainly")
    with pytest.raises(SystemExit, match=r"^REDIS_CA is not valid: it holds no certificate"):
        load_settings(RemindersSettings)
