"""Settings: read from the environment alone, told in sentences when wrong, described for the documentation."""

from __future__ import annotations

import pytest
from pydantic import Field, SecretStr, model_validator

from service_kit.settings import CommaSeparated, ServiceSettings, SettingDoc, describe_settings, load_settings

GOOD = {
    "APP_PORT": "8001",
    "APP_API_TOKEN": "app-token",
    "DAPR_API_TOKEN": "dapr-token",
    "REDIS_URL": "redis://:hidden-password@127.0.0.1:6379/0",
}


class ReminderSettings(ServiceSettings):
    service_name: str = Field(default="reminders", description="name of the service", examples=["reminders"])
    batch: int = Field(default=200, ge=1, description="Events in one batch. More is faster.", examples=[100])
    admins: CommaSeparated = Field(default=("root",), description="names of administrators")
    keys: SecretStr | None = Field(default=None, description="private keys")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for doc in describe_settings(ReminderSettings):
        monkeypatch.delenv(doc.name, raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def refusal(cls: type[ServiceSettings] = ReminderSettings) -> str:
    with pytest.raises(SystemExit) as stopped:
        load_settings(cls)
    return str(stopped.value.code)


def test_variables_are_the_field_names_in_capitals(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("BATCH", "7")
    environment.setenv("CORS_ALLOWED_ORIGINS", "https://a.example, https://b.example,")
    settings = load_settings(ReminderSettings)
    assert (settings.app_port, settings.batch) == (8001, 7)
    assert settings.cors_allowed_origins == ("https://a.example", "https://b.example")
    assert settings.redis_url.get_secret_value() == GOOD["REDIS_URL"]


def test_settings_cannot_be_changed() -> None:
    settings = load_settings(ReminderSettings)
    with pytest.raises(ValueError, match="frozen"):
        settings.app_port = 1  # type: ignore[misc]


def test_secrets_do_not_show() -> None:
    shown = repr(load_settings(ReminderSettings))
    assert "hidden-password" not in shown
    assert "app-token" not in shown


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_one_sentence(environment: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        environment.delenv("REDIS_URL")
    else:
        environment.setenv("REDIS_URL", value)
    assert refusal() == (
        "REDIS_URL is not set: give the address of Redis, like redis://:password@127.0.0.1:6379/0."
    )


def test_several_errors_are_one_line_each(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("REDIS_URL")
    environment.setenv("APP_PORT", "70000")
    environment.setenv("LOG_LEVEL", "loud")
    lines = refusal().splitlines()
    assert sorted(line.split()[0] for line in lines) == ["APP_PORT", "LOG_LEVEL", "REDIS_URL"]
    assert all(line.endswith(".") for line in lines)


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("APP_PORT", "eight", ["'eight'", "port to listen on", "like 8000"]),
        ("APP_PORT", "0", ["greater than or equal to 1", "'0'"]),
        ("LOG_LEVEL", "loud", ["'debug', 'info'", "'loud'"]),
        ("HEALTH_CHECK_TIMEOUT", "3", ["less than or equal to 0.5"]),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", ["http:// or https://"]),
        ("BATCH", "0", ["BATCH is not valid", "give the events in one batch, like 100"]),
    ],
)
def test_a_wrong_value_says_what_is_wanted(
    environment: pytest.MonkeyPatch, name: str, value: str, parts: list[str]
) -> None:
    environment.setenv(name, value)
    sentence = refusal()
    assert sentence.startswith(f"{name} is not valid: ")
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize(
    "url", ["http://:hidden@host/0", "hidden", "redis://", "redis://:hidden@host:port/0", "redis://[hidden"]
)
def test_a_wrong_redis_address_is_refused_without_its_password(
    environment: pytest.MonkeyPatch, url: str
) -> None:
    environment.setenv("REDIS_URL", url)
    sentence = refusal()
    assert sentence.startswith("REDIS_URL is not valid: it ")
    assert "hidden" not in sentence


@pytest.mark.parametrize("url", ["rediss://host:6380/1", "unix:///run/redis.sock"])
def test_other_redis_addresses_are_taken(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("REDIS_URL", url)
    assert load_settings(ReminderSettings).redis_url.get_secret_value() == url


def test_a_level_may_be_written_in_capitals(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LOG_LEVEL", "WARNING")
    assert load_settings(ReminderSettings).log_level == "warning"


@pytest.mark.parametrize("environment_name", ["staging", "production"])
def test_nobody_reloads_where_people_are_served(
    environment: pytest.MonkeyPatch, environment_name: str
) -> None:
    environment.setenv("RELOAD", "true")
    assert load_settings(ReminderSettings).reload is True
    environment.setenv("ENVIRONMENT", environment_name)
    with pytest.raises(SystemExit, match=f"unset it where ENVIRONMENT is {environment_name}"):
        load_settings(ReminderSettings)


def test_fields_that_do_not_fit_together_are_a_sentence_too() -> None:
    class Torn(ReminderSettings):
        @model_validator(mode="after")
        def _never(self) -> Torn:
            raise ValueError("BATCH is more than the queue holds")

    assert refusal(Torn) == "The settings do not fit together: bATCH is more than the queue holds."


def test_settings_are_described_for_the_documentation() -> None:
    docs = {doc.name: doc for doc in describe_settings(ReminderSettings)}
    assert docs["REDIS_URL"] == SettingDoc(
        name="REDIS_URL",
        type="text",
        default=None,
        description="address of Redis",
        secret=True,
        example="redis://:password@127.0.0.1:6379/0",
    )
    assert (docs["BATCH"].default, docs["BATCH"].type, docs["BATCH"].secret) == ("200", "integer", False)
    assert (docs["ADMINS"].default, docs["ADMINS"].type) == ("root", "comma-separated list")
    assert (docs["KEYS"].default, docs["KEYS"].secret, docs["KEYS"].type) == ("", True, "text")
    assert docs["LOG_FORMAT"].type == "json | console"
    assert (docs["TEST_CLOCK"].default, docs["TEST_CLOCK"].type) == ("false", "true | false")
    assert docs["OTEL_EXPORTER_OTLP_ENDPOINT"].default == ""


def test_every_setting_has_a_description_and_an_example() -> None:
    assert [
        doc.name for doc in describe_settings(ServiceSettings) if not (doc.description and doc.example)
    ] == []
