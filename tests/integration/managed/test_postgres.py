"""PostgreSQL that speaks TLS alone: sslmode means what libpq says it means, whoever of ours connects."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.managed.authority import Authority
from tests.integration.managed.conftest import Given
from typer.testing import CliRunner

from service_kit.settings import load_settings
from task_api.adapters.postgres.database import PostgresDatabase, connect
from task_api.adapters.postgres.outbox import relay_engine
from task_api.domain.errors import StorageUnavailable
from task_api.migrations.runner import MigrationFailed, migrate
from task_api.operators import grant_admin
from task_api.settings import DatabaseSettings
from taskstream_cli.__main__ import app

CA, URL = "DATABASE_CA", "DATABASE_URL"
UNTRUSTED = "unable to get local issuer certificate"


@pytest.fixture(scope="module")
def migrated(given: Given) -> dict[str, str]:
    """The variables of the job that has made the tables."""
    environment = given("taskstream-migrate")
    assert environment.keys() == {URL, CA}
    done = subprocess.run(
        [sys.executable, "-m", "task_api", "migrate"],
        env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "went from revision nothing to" in done.stdout
    return environment


async def served(settings: DatabaseSettings) -> None:
    """The pools of requests and of the relay."""
    url = settings.database_url.get_secret_value()
    for engine in (
        connect(url, pool_size=2, authority=settings.database_ca),
        relay_engine(url, settings.database_ca, lanes=1),
    ):
        try:
            await PostgresDatabase(engine).ping()
        finally:
            await engine.dispose()


async def migration(settings: DatabaseSettings) -> None:
    await migrate(settings.database_url.get_secret_value(), authority=settings.database_ca)


async def operator(settings: DatabaseSettings) -> None:
    assert not await grant_admin(
        settings.database_url.get_secret_value(), "nobody@example.org", settings.database_ca
    )


def told() -> list[str]:
    """What is said by each that connects with the variables there are; empty when it is let in."""
    said = []
    for attempt in (served, migration, operator):
        try:
            asyncio.run(attempt(load_settings(DatabaseSettings)))
            said.append("")
        except StorageUnavailable as error:
            said.append(str(error.__cause__))
        except (SystemExit, MigrationFailed) as error:
            said.append(str(error))
    command = CliRunner().invoke(app, ["outbox", "status"])
    assert isinstance(command.exception, SystemExit | None), command.exception
    return [*said, command.stderr]


@pytest.mark.parametrize(
    ("sslmode", "host", "signer", "said"),
    [
        ("verify-full", "localhost", "own", None),
        # The certificate is for the name, not for the address.
        ("verify-full", "127.0.0.1", "own", "IP address mismatch"),
        ("verify-ca", "127.0.0.1", "own", None),
        ("require", "127.0.0.1", "own", None),
        ("verify-full", "localhost", "stranger", UNTRUSTED),
        ("verify-ca", "localhost", "stranger", UNTRUSTED),
        ("require", "localhost", "stranger", UNTRUSTED),
        ("verify-full", "localhost", "system", UNTRUSTED),
        ("require", "localhost", None, None),
        ("prefer", "localhost", None, None),
        ("disable", "localhost", None, "no encryption"),
        ("prefer", "localhost", "own", "ith sslmode=prefer nothing is verified by DATABASE_CA"),
    ],
)
def test_sslmode_means_what_libpq_says(
    migrated: dict[str, str], authority: Authority, stranger: Authority, monkeypatch: pytest.MonkeyPatch,
    sslmode: str, host: str, signer: str | None, said: str | None,
) -> None:  # fmt: skip
    certificates = {"own": authority.pem, "stranger": stranger.pem, "system": "system"}
    monkeypatch.setenv(URL, migrated[URL].replace("@localhost:", f"@{host}:").replace("verify-full", sslmode))
    monkeypatch.delenv(CA, raising=False)
    if signer:
        monkeypatch.setenv(CA, certificates[signer])
    for sentence in told():
        assert (said or "") in sentence
        assert bool(sentence) == bool(said), sentence


def test_a_verified_server_needs_an_authority(
    migrated: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(URL, migrated[URL])
    monkeypatch.delenv(CA, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    *ours, command = told()
    assert all("verifies by DATABASE_CA, which is not set" in one for one in ours)
    assert "root certificate file" in command


def test_a_wrong_password_is_an_outage_and_no_fault_of_ours(
    migrated: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL, migrated[URL].replace("the-provider", "another"))
    monkeypatch.setenv(CA, migrated[CA])
    assert all("password authentication failed" in one for one in told())
