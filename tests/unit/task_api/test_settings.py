"""A bad start is told in a sentence that names the variable."""

from __future__ import annotations

import pytest

from service_kit.settings import load_settings
from service_kit.testing.tokens import SigningKey
from task_api.settings import MigrationSettings, Settings, asyncpg_url

GOOD = {
    "DATABASE_URL": "postgresql://u:p@127.0.0.1:5432/taskstream",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "APP_API_TOKEN": "a",
    "DAPR_API_TOKEN": "b",
    "JWT_PRIVATE_KEYS": SigningKey().pem,
}

_BROKEN = "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("APP_PORT", raising=False)


def test_a_good_start() -> None:
    settings = load_settings(Settings)
    assert settings.app_port == 8000
    assert settings.service_name == "task-api"
    assert settings.database_url.get_secret_value() == "postgresql+asyncpg://u:p@127.0.0.1:5432/taskstream"
    assert "p@127" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "normalised"),
    [
        ("postgres://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql://h/d?sslmode=require&connect_timeout=3", "postgresql+asyncpg://h/d?ssl=require"),
        ("postgresql://h/d?application_name=x", "postgresql+asyncpg://h/d"),
    ],
)
def test_addresses_are_brought_to_the_driver(given: str, normalised: str) -> None:
    assert asyncpg_url(given) == normalised


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "postgresql:///d", "postgresql://h", "postgresql://h:x/d", "nonsense"]
)
def test_a_bad_address_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    for settings in (Settings, MigrationSettings):
        with pytest.raises(
            SystemExit, match=r"^DATABASE_URL is not valid: it .*; give the address of PostgreSQL"
        ):
            load_settings(settings)


def test_missing_keys_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_PRIVATE_KEYS")
    with pytest.raises(SystemExit, match=r"^JWT_PRIVATE_KEYS is not set: give the private Ed25519 keys"):
        load_settings(Settings)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("secret", "it holds no PEM block"),
        (
            SigningKey().pem + _BROKEN,
            "PEM block 2 is no private key",
        ),
    ],
)
def test_bad_keys_are_named_but_not_shown(keys: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_PRIVATE_KEYS", keys)
    with pytest.raises(SystemExit, match=f"^JWT_PRIVATE_KEYS is not valid: (?i:{why})") as refused:
        load_settings(Settings)
    assert keys not in str(refused.value)


def test_a_migration_needs_the_database_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GOOD:
        if name != "DATABASE_URL":
            monkeypatch.delenv(name)
    assert (
        load_settings(MigrationSettings).database_url.get_secret_value().startswith("postgresql+asyncpg://")
    )
