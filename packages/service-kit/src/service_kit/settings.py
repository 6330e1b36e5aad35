"""Settings come from the environment only; a bad start says in plain sentences which variable to set and to what."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError


def _split_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    return value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)]
"""A setting that is written as `a,b,c`."""

LogLevel = Literal["debug", "info", "warning", "error", "critical"]


class ServiceSettings(BaseSettings):
    """What every service reads. A variable has the field's name in capitals; an empty variable counts as not set.

    A service extends it, gives `service_name` and `app_port` its defaults and describes each field as a noun phrase
    ("address of Redis"), for the phrase becomes part of the sentence of a bad start and of the documentation.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    service_name: str = Field(
        min_length=1,
        description="name of the service: its Dapr app-id, consumer group and service.name",
        examples=["reminders"],
    )
    service_version: str = Field(
        default="0.1.0", description="version that health and telemetry report", examples=["0.1.0"]
    )
    environment: Literal["development", "test", "staging", "production"] = Field(
        default="development", description="kind of environment this runs in", examples=["production"]
    )
    app_host: str = Field(default="127.0.0.1", description="address to listen on", examples=["0.0.0.0"])  # noqa: S104 - for containers
    app_port: int = Field(ge=1, le=65535, description="port to listen on", examples=[8000])
    dapr_runtime_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="host of the own sidecar",
        examples=["task-api-dapr"],
    )
    dapr_http_port: int = Field(
        default=3500, ge=1, le=65535, description="port of the own sidecar's HTTP API", examples=[3500]
    )
    app_api_token: SecretStr = Field(
        min_length=1,
        description="token that the sidecar sends to this service with every call",
        examples=["a-long-random-text"],
    )
    dapr_api_token: SecretStr = Field(
        min_length=1,
        description="token that the sidecar asks of this service",
        examples=["another-long-random-text"],
    )
    redis_url: SecretStr = Field(
        description="address of Redis", examples=["redis://:password@127.0.0.1:6379/0"]
    )
    redis_ca: str | None = Field(
        default=None,
        description=(
            "certificates, as PEM blocks, of the authority by which Redis' own is verified; unset, those of the "
            "operating system"
        ),
        examples=["-----BEGIN CERTIFICATE----- …"],
    )
    jwt_issuer: str = Field(
        default="taskstream", min_length=1, description="issuer of access tokens", examples=["taskstream"]
    )
    jwt_audience: str = Field(
        default="taskstream-api",
        min_length=1,
        description="audience of access tokens",
        examples=["taskstream-api"],
    )
    log_level: LogLevel = Field(
        default="info", description="lowest level that is logged", examples=["warning"]
    )
    log_format: Literal["json", "console"] = Field(
        default="json",
        description="form of the log lines: json for machines, console for people",
        examples=["console"],
    )
    health_check_timeout: float = Field(
        default=0.5,
        gt=0,
        le=0.5,
        description="seconds after which a dependency's health check is given up",
        examples=[0.5],
    )
    request_timeout: float = Field(
        default=60.0,
        gt=0,
        le=600,
        description=(
            "seconds after which a request is given up. A streamed answer has as long for each of its parts"
        ),
        examples=[60],
    )
    requests_at_once: int = Field(
        default=32,
        ge=1,
        le=100_000,
        description=(
            "requests of people that one process works on at the same time. Four times as many may wait for their "
            "turn; who would wait too long gets 503"
        ),
        examples=[32],
    )
    max_url_bytes: int = Field(
        default=8 * 1024,
        ge=1024,
        le=60 * 1024,
        description="bytes that the address of a request may have, its query included",
        examples=[8192],
    )
    max_header_bytes: int = Field(
        default=16 * 1024,
        ge=4 * 1024,
        le=1024 * 1024,
        description="bytes that the headers of a request may have, all together",
        examples=[16384],
    )
    cors_allowed_origins: CommaSeparated = Field(
        default=(),
        description="origins, separated by commas, whose pages may call the API",
        examples=["https://app.example.org,https://staging.example.org"],
    )
    trusted_proxies: CommaSeparated = Field(
        default=(),
        description="addresses or networks, separated by commas, of proxies whose X-Forwarded-For is believed",
        examples=["10.0.0.0/8"],
    )
    test_clock: bool = Field(
        default=False,
        description="whether the clock can be moved by a key in Redis, for tests",
        examples=["true"],
    )
    reload: bool = Field(
        default=False,
        description="whether the process starts anew when one of its sources is saved, for development",
        examples=["true"],
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None,
        description="base address of an OpenTelemetry collector (OTLP over HTTP); unset, spans go nowhere",
        examples=["http://127.0.0.1:4318"],
    )
    trace_sample_ratio: float = Field(
        default=1.0, ge=0, le=1, description="share of new traces that are recorded", examples=[0.1]
    )
    pubsub_name: str = Field(
        default="pubsub", min_length=1, description="name of the Dapr pub/sub component", examples=["pubsub"]
    )
    state_store_name: str = Field(
        default="statestore",
        min_length=1,
        description="name of the Dapr state store component",
        examples=["statestore"],
    )

    @field_validator("log_level", "log_format", "environment", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("redis_url", mode="after")
    @classmethod
    def _redis_address(cls, value: SecretStr) -> SecretStr:
        check_url(value, schemes=("redis", "rediss", "unix"))
        return value

    @field_validator("redis_ca", mode="after")
    @classmethod
    def _redis_authority(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ssl.create_default_context(cadata=value)
            except (ssl.SSLError, TypeError):
                raise ValueError("it holds no certificate as a PEM block") from None
        return value

    @model_validator(mode="after")
    def _redis_verified_as_asked(self) -> Self:
        if self.redis_ca is not None and not self.redis_url.get_secret_value().startswith("rediss://"):
            raise ValueError("without TLS nothing is verified by REDIS_CA: give REDIS_URL as rediss://…")
        return self

    @model_validator(mode="after")
    def _reloads_in_development(self) -> Self:
        if self.reload and self.environment in ("staging", "production"):
            raise ValueError(f"RELOAD is for development: unset it where ENVIRONMENT is {self.environment}")
        return self

    @field_validator("otel_exporter_otlp_endpoint", mode="after")
    @classmethod
    def _collector_address(cls, value: str | None) -> str | None:
        if value is not None:
            check_url(SecretStr(value), schemes=("http", "https"))
        return value


def check_url(value: SecretStr, *, schemes: tuple[str, ...]) -> None:
    """Raise ValueError, without the value in it, unless it is a URL of one of `schemes` with a host (or a path)."""
    allowed = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(value.get_secret_value())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it is no address that can be read") from None
    if parts.scheme not in schemes:
        raise ValueError(f"it must start with {allowed}")
    if not host and not (parts.scheme == "unix" and parts.path):
        raise ValueError("it names no host")


_SHOWN_MAX = 200
"""Characters of a value that a sentence repeats; certificates are longer and say nothing to a reader."""

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load_settings(cls: type[SettingsT]) -> SettingsT:
    """Read `cls` from the environment.

    Raises SystemExit whose text is one sentence per variable that is missing or wrong, one a line, never a secret.
    """
    try:
        return cls()
    except ValidationError as error:
        raise SystemExit("\n".join(_sentences(cls, error))) from None
    except SettingsError as error:
        raise SystemExit(f"A setting cannot be read: {error}.") from None


def _sentences(cls: type[BaseSettings], error: ValidationError) -> list[str]:
    sentences: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        info = cls.model_fields.get(field)
        if info is None:
            sentences.setdefault(field, f"The settings do not fit together: {_plain(problem['msg'])}.")
            continue
        name = field.upper()
        if problem["type"] == "missing":
            text = f"{name} is not set: give {_what(info)}."
        else:
            given = str(problem["input"])
            shown = "" if _is_secret(info) or len(given) > _SHOWN_MAX else f" (it is {given!r})"
            text = f"{name} is not valid: {_plain(problem['msg'])}{shown}; give {_what(info)}."
        sentences.setdefault(field, text)
    return list(sentences.values())


def _plain(message: str) -> str:
    text = message.removeprefix("Value error, ").rstrip(".")
    return text[:1].lower() + text[1:]


def _what(info: FieldInfo) -> str:
    phrase = _phrase(info) or "a value"
    article = "" if phrase.startswith(("the ", "a ", "an ", "whether ")) else "the "
    example = f", like {info.examples[0]}" if info.examples else ""
    return f"{article}{phrase}{example}"


def _phrase(info: FieldInfo) -> str:
    """The first clause of the description, in lower case unless it begins with an acronym."""
    phrase = (info.description or "").split(". ")[0].split(": ")[0].rstrip(".")
    return phrase if phrase[1:2].isupper() else phrase[:1].lower() + phrase[1:]


@dataclass(frozen=True)
class SettingDoc:
    """One setting as the documentation shows it. `default` is None when the variable must be set."""

    name: str
    type: str
    default: str | None
    description: str
    secret: bool
    example: str | None


def describe_settings(cls: type[BaseSettings]) -> list[SettingDoc]:
    """Describe each variable that `cls` reads, in the order of its fields, the base's first. No value of the
    environment is read; a secret's default is not shown."""
    return [_describe(field, info) for field, info in cls.model_fields.items()]


def _describe(field: str, info: FieldInfo) -> SettingDoc:
    secret = _is_secret(info)
    return SettingDoc(
        name=field.upper(),
        type=_type_name(info.annotation),
        default=_default_text(info, secret=secret),
        description=(info.description or "").strip(),
        secret=secret,
        example=str(info.examples[0]) if info.examples else None,
    )


def _default_text(info: FieldInfo, *, secret: bool) -> str | None:
    if info.is_required():
        return None
    default = info.get_default(call_default_factory=False)
    if default is None or default is PydanticUndefined or secret:
        return ""
    if isinstance(default, tuple | list | frozenset | set):
        return ",".join(str(item) for item in default)
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, str | int | float):
        return str(default)
    return str(to_jsonable_python(default))


def _is_secret(info: FieldInfo) -> bool:
    annotation = info.annotation
    return annotation is SecretStr or SecretStr in get_args(annotation)


def _type_name(annotation: Any) -> str:
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return " | ".join(str(choice) for choice in arguments)
    if get_origin(annotation) is tuple:
        return "comma-separated list"
    if type(None) in arguments:
        return _type_name(next(kind for kind in arguments if kind is not type(None)))
    names = {str: "text", SecretStr: "text", int: "integer", float: "number", bool: "true | false"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))
