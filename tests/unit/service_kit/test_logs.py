"""One JSON object a line, with the ids of what is going on, and never a secret."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from service_kit import telemetry
from service_kit.logs import configure_logs, get_logger
from service_kit.settings import ServiceSettings
from service_kit.testing.logging_restored import logging_restored


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Put the logging of the test run back."""
    with logging_restored():
        yield


class Lines:
    def __init__(self, capsys: pytest.CaptureFixture[str], settings: ServiceSettings | None = None) -> None:
        self._capsys = capsys
        self._settings = settings

    def start(self) -> None:
        """Configure the logs; in the test itself, for pytest gives each of its phases another output."""
        assert self._settings is not None
        configure_logs(self._settings)

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]

    def one(self) -> dict[str, Any]:
        lines = self.read()
        assert len(lines) == 1, lines
        return lines[0]


@pytest.fixture
def lines(settings: ServiceSettings, capsys: pytest.CaptureFixture[str]) -> Lines:
    return Lines(capsys, settings)


def test_a_line_says_who_what_and_when(lines: Lines) -> None:
    lines.start()
    get_logger("reminders.timer").info("fired", late_ms=3)
    line = lines.one()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "message": "fired",
        "late_ms": 3,
        "level": "info",
        "logger": "reminders.timer",
        "service": "reminders",
        "version": "0.1.0",
    }


def test_a_line_carries_the_ids_of_what_is_going_on(lines: Lines) -> None:
    lines.start()
    tokens = telemetry.bind_request("r-1", "c-1")
    with telemetry.span("work") as span:
        get_logger("x").info("fired")
        trace = f"{span.get_span_context().trace_id:032x}"
    telemetry.unbind_request(tokens)
    get_logger("x").info("later")
    inside, after = lines.read()
    assert (inside["request_id"], inside["correlation_id"], inside["trace_id"]) == ("r-1", "c-1", trace)
    assert not {"request_id", "correlation_id", "trace_id"} & after.keys()


def test_libraries_log_in_the_same_form(lines: Lines) -> None:
    lines.start()
    logging.getLogger("uvicorn.error").warning("half of %s", "it", extra={"part": 2})
    line = lines.one()
    assert (line["message"], line["logger"], line["level"]) == ("half of it", "uvicorn.error", "warning")
    assert (line["service"], line["part"]) == ("reminders", 2)


def test_chatty_libraries_are_quiet(lines: Lines) -> None:
    lines.start()
    logging.getLogger("httpx").info("HTTP Request: POST …")
    assert lines.read() == []


def test_a_warning_is_a_line(lines: Lines) -> None:
    lines.start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", stacklevel=1)
    assert "old thing" in lines.one()["message"]


def test_the_level_counts(settings: ServiceSettings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(settings.model_copy(update={"log_level": "warning"}))
    get_logger("x").info("quiet")
    get_logger("x").warning("loud")
    assert Lines(capsys).one()["message"] == "loud"


def test_a_traceback_is_in_the_line(lines: Lines) -> None:
    lines.start()
    try:
        raise ValueError("three")
    except ValueError:
        get_logger("x").exception("failed")
    line = lines.one()
    assert line["level"] == "error"
    assert "ValueError: three" in line["exception"]
    assert "Traceback" in line["exception"]


@pytest.mark.parametrize(
    "key", ["token", "Authorization", "smtp_password", "refresh_token", "api_key", "cookie"]
)
def test_a_value_under_a_secret_name_is_hidden(lines: Lines, key: str) -> None:
    lines.start()
    get_logger("x").info("sent", **{key: "hunter2"}, headers={key: "hunter2"})
    line = lines.one()
    assert (line[key], line["headers"][key]) == ("***", "***")


def test_own_secrets_are_struck_out_wherever_they_show(
    settings: ServiceSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    pem = SecretStr("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI\n-----END PRIVATE KEY-----")
    configure_logs(settings.model_copy(update={"dapr_api_token": pem}))
    get_logger("x").info("calling with app-token-of-the-test", detail=["redis-password"])
    try:
        raise RuntimeError(pem.get_secret_value())
    except RuntimeError:
        logging.getLogger("lib").exception("MC4CAQAwBQYDK2VwBCIEI")
    output = capsys.readouterr().out
    for secret in ("app-token-of-the-test", "redis-password", "MC4CAQAwBQYDK2VwBCIEI"):
        assert secret not in output
    assert output.count("***") >= 4


def test_passwords_in_addresses_are_struck_out(lines: Lines) -> None:
    lines.start()
    get_logger("x").info(
        "connecting to postgresql://bob:hunter2@db/tasks and http://db/tasks", url=SecretStr("s")
    )
    line = lines.one()
    assert line["message"] == "connecting to postgresql://bob:***@db/tasks and http://db/tasks"
    assert line["url"] == "**********"


def test_for_people_there_is_a_console_form_without_secrets(
    settings: ServiceSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(settings.model_copy(update={"log_format": "console"}))
    try:
        local = settings.app_api_token.get_secret_value()
        raise ValueError(f"with {local}")
    except ValueError:
        get_logger("x").exception("failed", part=2)
    output = capsys.readouterr().out
    assert "failed" in output
    assert "part=2" in output
    assert "ValueError: with ***" in output
    assert "app-token-of-the-test" not in output


def test_what_json_cannot_say_is_still_said(lines: Lines) -> None:
    lines.start()
    get_logger("x").info("odd", path={1: object}, number=2**70)
    assert lines.one()["message"] == "odd"
