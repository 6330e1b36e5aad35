"""One JSON object a line, for our own logs and for those of every library alike. Secrets never get into a line."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

import orjson
import structlog
from pydantic import SecretStr
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from service_kit import telemetry
from service_kit.settings import ServiceSettings

HIDDEN = "***"
_SECRET_KEY = re.compile(
    r"token|password|passwd|secret|authorization|cookie|api_?key|private_?key", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(://[^:/@\s\"']*:)[^@/\s\"']+(@)")
_SHORTEST_SECRET = 6
"""A shorter text would be struck out of ordinary words; the settings ask for long random ones."""

_QUIET_LIBRARIES = ("httpx", "httpcore", "asyncio", "multipart", "opentelemetry")


def configure_logs(settings: ServiceSettings) -> None:
    """Send every log line of the process to standard output in the chosen form. May be called again.

    Our own lines are written directly; those of libraries come by way of `logging` and get the same form.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        _StaticFields(service=settings.service_name, version=settings.service_version),
        _add_context,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secret_keys,
    ]
    renderers = _renderers(settings)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[_add_library_name, structlog.stdlib.ExtraAdder(), *shared],
            processors=[ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[_add_own_name, *shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Output(sys.stdout, *names),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> FilteringBoundLogger:
    """Give the logger of a module: `log.info("what_happened", key=value)`."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


def _renderers(settings: ServiceSettings) -> list[Processor]:
    censor = _Censor(settings)
    if settings.log_format == "console":
        return [_console_renderer(), censor]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(serializer=_to_json),
        censor,
    ]


def _console_renderer() -> structlog.dev.ConsoleRenderer:
    # The plain traceback: the renderer's own choice prints local variables, and these hold secrets.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


class _Output(structlog.WriteLogger):
    """Writes finished lines; knows the name of the module whose lines they are."""

    def __init__(self, file: TextIO, name: str = "") -> None:
        super().__init__(file)
        self.name = name


def _add_own_name(logger: Any, method: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def _add_library_name(logger: Any, method: str, event: EventDict) -> EventDict:
    event["logger"] = event["_record"].name
    return event


class _StaticFields:
    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def __call__(self, logger: Any, method: str, event: EventDict) -> EventDict:
        for key, value in self._fields.items():
            event.setdefault(key, value)
        return event


def _add_context(logger: Any, method: str, event: EventDict) -> EventDict:
    for key, value in (
        ("request_id", telemetry.request_id()),
        ("correlation_id", telemetry.correlation_id()),
        ("trace_id", telemetry.current_trace_id()),
    ):
        if value is not None:
            event.setdefault(key, value)
    return event


def _hide_secret_keys(logger: Any, method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if names_a_secret(str(key)):
            event[key] = HIDDEN
        elif isinstance(value, MutableMapping):
            event[key] = _hide_secret_keys(logger, method, dict(value))
    return event


@lru_cache(maxsize=1024)
def names_a_secret(key: str) -> bool:
    """Whether what has this name is not for a log."""
    return _SECRET_KEY.search(key) is not None


def _to_json(event: EventDict, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()
    except TypeError:
        # Integers over 64 bits, half a surrogate pair, odd keys: slower, but no line is lost.
        return json.dumps({str(key): str(value) for key, value in event.items()})


class _Censor:
    """The last look at a finished line: strikes out the process's own secrets and passwords inside addresses."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._secrets = sorted(set(_secret_texts(settings)), key=len, reverse=True)

    def __call__(self, logger: Any, method: str, line: Any) -> str:
        text = str(line)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return _URL_PASSWORD.sub(rf"\1{HIDDEN}\2", text) if "://" in text else text


def _secret_texts(settings: ServiceSettings) -> Iterator[str]:
    for field in type(settings).model_fields:
        value = getattr(settings, field)
        if not isinstance(value, SecretStr):
            continue
        text = value.get_secret_value()
        candidates = {text}
        if "://" in text:
            password = urlsplit(text).password
            candidates = {password, unquote(password)} if password else set()
        # A secret of several lines (a PEM block) shows in a log line by line.
        for candidate in candidates:
            yield from (part for part in candidate.splitlines() if len(part) >= _SHORTEST_SECRET)
