"""Mail settings are read strictly, with one sentence about what is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from notifier.settings import NotifierSettings, SmtpServer, StartTls, parse_sender, parse_smtp_url
from service_kit.settings import load_settings

ENVIRONMENT = {
    "APP_API_TOKEN": "app",
    "DAPR_API_TOKEN": "dapr",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "SMTP_URL": "smtp://127.0.0.1:2525",
    "MAIL_FROM": "Taskstream <reminders@example.org>",
    "PUBLIC_URL": "https://tasks.example.org",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings(NotifierSettings)
    assert (settings.service_name, settings.app_port) == ("notifier", 8003)
    assert settings.retry_horizon == timedelta(hours=24)
    assert settings.sender.addr_spec == "reminders@example.org"
    assert settings.smtp_server.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail", SmtpServer("mail", 25, None, None, False, StartTls.AUTO)),
        ("smtp://mail:2525?starttls=never", SmtpServer("mail", 2525, None, None, False, StartTls.NEVER)),
        ("smtp://u%40x:p%3Aw@mail:587", SmtpServer("mail", 587, "u@x", "p:w", False, StartTls.REQUIRED)),
        ("smtp://u:p@mail?starttls=auto", SmtpServer("mail", 25, "u", "p", False, StartTls.AUTO)),
        ("smtps://u:p@mail", SmtpServer("mail", 465, "u", "p", True, StartTls.NEVER)),
    ],
)
def test_smtp_urls(url: str, server: SmtpServer) -> None:
    assert parse_smtp_url(url) == server


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(parse_smtp_url("smtps://u:secret@mail"))


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("SMTP_URL", "mail.example.org:25", "smtp://"),
        ("SMTP_URL", "smtp://", "smtp://"),
        ("SMTP_URL", "smtp://mail?tls=1", "starttls"),
        ("SMTP_URL", "smtp://mail?starttls=maybe", "starttls"),
        ("MAIL_FROM", "Taskstream", "reminders@example.org"),
        ("MAIL_FROM", "x@y\r\nBcc: z@y", "reminders@example.org"),
        ("PUBLIC_URL", "tasks", "PUBLIC_URL"),
        ("LINK_SECRETS", "short", "32 characters"),
        ("LINK_SECRETS", "a" * 32 + ",b", "32 characters"),
        ("LINK_SECRETS", ",", "32 characters"),
        ("LINKS_URL", "tasks", "LINKS_URL"),
    ],
)
def test_a_wrong_one_is_one_sentence(
    environment: pytest.MonkeyPatch, name: str, value: str, part: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        load_settings(NotifierSettings)
    sentence = str(stopped.value)
    assert name in sentence
    assert part in sentence
    assert "\n" not in sentence.strip()


def test_a_sender_with_a_name_that_needs_quotes() -> None:
    assert str(parse_sender('"Tasks, Inc." <a@example.org>')) == '"Tasks, Inc." <a@example.org>'
    assert parse_sender("a@example.org").display_name == ""


def test_limits_hold(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SMTP_TIMEOUT", "60")
    with pytest.raises((SystemExit, ValidationError)):
        load_settings(NotifierSettings)


def test_links_need_a_secret_and_are_where_people_are_unless_it_is_said(
    environment: pytest.MonkeyPatch,
) -> None:
    settings = load_settings(NotifierSettings)
    assert (settings.link_keys, settings.links_address) == ((), "https://tasks.example.org/")
    environment.setenv("LINK_SECRETS", f"{'a' * 32}, {'b' * 32}")
    environment.setenv("LINKS_URL", "http://127.0.0.1:8003")
    settings = load_settings(NotifierSettings)
    assert (settings.link_keys, settings.links_address) == (("a" * 32, "b" * 32), "http://127.0.0.1:8003/")
