"""A bad start is told in a sentence that names the variable."""

from __future__ import annotations

import pytest

from service_kit.settings import load_settings
from service_kit.testing.tokens import SigningKey
from task_api.settings import DatabaseSettings, Settings, asyncpg_url

GOOD = {
    "DATABASE_URL": "postgresql://u:p@127.0.0.1:5432/taskstream",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "APP_API_TOKEN": "a",
    "DAPR_API_TOKEN": "b",
    "JWT_PRIVATE_KEYS": SigningKey().pem,
    "ENCRYPTION_KEYS": "A" * 43 + "=",
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
    for settings in (Settings, DatabaseSettings):
        with pytest.raises(
            SystemExit, match=r"^DATABASE_URL is not valid: it .*; give the address of PostgreSQL"
        ):
            load_settings(settings)


@pytest.mark.parametrize(
    ("url", "authority", "sentence"),
    [
        (
            "postgresql://h/d?sslmode=verify_full",
            "system",
            "DATABASE_URL is not valid: its sslmode is none of disable, ",
        ),
        (
            "postgresql://h/d?sslrootcert=/ca",
            "",
            "DATABASE_URL is not valid: sslrootcert is not taken from it: the ",
        ),
        (
            "postgresql://h/d?sslmode=require",
            "a b",
            "DATABASE_CA is not valid: it holds no certificate as a PEM block",
        ),
        (
            "postgresql://h/d?sslmode=verify-ca",
            "",
            "The settings do not fit together: sslmode=verify-ca in DATABASE_URL",
        ),
        (
            "postgresql://h/d",
            "system",
            "The settings do not fit together: with sslmode=prefer nothing is verified by ",
        ),
    ],
)
def test_tls_that_cannot_be_meant_stops_the_start(
    url: str, authority: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DATABASE_CA", authority)
    for settings in (Settings, DatabaseSettings):
        with pytest.raises(SystemExit, match=f"^{sentence}"):
            load_settings(settings)


@pytest.mark.parametrize(
    ("keys", "why"),
    [(" , ", "it holds no key"), ("A" * 43 + "=,c2hvcnQ=", "key 2 is not 32 bytes in base64url")],
)
def test_bad_encryption_keys_are_named_but_not_shown(
    keys: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCRYPTION_KEYS", keys)
    with pytest.raises(SystemExit, match=f"^ENCRYPTION_KEYS is not valid: {why}") as refused:
        load_settings(Settings)
    assert "c2hvcnQ" not in str(refused.value)


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
    assert load_settings(DatabaseSettings).database_url.get_secret_value().startswith("postgresql+asyncpg://")
