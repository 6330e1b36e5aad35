"""What this service reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from email.headerregistry import Address
from enum import StrEnum
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator

from service_kit.settings import ServiceSettings

_DEFAULT_PORTS = {"smtp": 25, "smtps": 465}


class StartTls(StrEnum):
    """Whether a plain SMTP connection is turned into an encrypted one (RFC 3207)."""

    AUTO = "auto"
    REQUIRED = "required"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail is handed over. `implicit_tls` is RFC 8314's smtps."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    implicit_tls: bool
    start_tls: StartTls


def parse_smtp_url(url: str) -> SmtpServer:
    """Read `smtp://user:pass@host:port?starttls=auto|required|never` or `smtps://…`.

    With a password over plain smtp, STARTTLS is required unless it is switched off in so many words.
    Raises ValueError with one sentence.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("write it as smtp://host:port or smtps://user:password@host:port")
    query = parse_qs(parts.query)
    if set(query) - {"starttls"}:
        raise ValueError("its only option is starttls=auto, starttls=required or starttls=never")
    default = StartTls.REQUIRED if parts.password else StartTls.AUTO
    chosen = query.get("starttls", [default])[-1]
    if chosen not in set(StartTls):
        raise ValueError("its option starttls is auto, required or never")
    return SmtpServer(
        host=parts.hostname,
        port=parts.port or _DEFAULT_PORTS[parts.scheme],
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        implicit_tls=parts.scheme == "smtps",
        start_tls=StartTls.NEVER if parts.scheme == "smtps" else StartTls(chosen),
    )


def parse_sender(text: str) -> Address:
    """Read `Name <local@domain>` or `local@domain`. Raises ValueError with one sentence."""
    name, _, rest = text.rpartition("<")
    try:
        address = Address(display_name=name.strip().strip('"'), addr_spec=rest.removesuffix(">").strip())
    except (ValueError, IndexError) as error:
        raise ValueError("write it as Taskstream <reminders@example.org>") from error
    if not address.domain or not address.addr_spec.isascii():
        raise ValueError("write it as Taskstream <reminders@example.org>")
    return address


class NotifierSettings(ServiceSettings):
    """The notifier's own settings beside those that every service has."""

    service_name: str = Field(default="notifier", description="Name of this service.", examples=["notifier"])
    app_port: int = Field(
        default=8003, ge=1, le=65535, description="Port of this service's HTTP.", examples=[8003]
    )
    smtp_url: SecretStr = Field(
        description="Mail server: smtp:// or smtps://, with user and password if it asks for them, and "
        "?starttls=auto, required or never.",
        examples=["smtp://127.0.0.1:2525", "smtps://user:password@mail.example.org"],
    )
    mail_from: str = Field(
        description="Sender of all mail; its domain is also that of the Message-IDs.",
        examples=["Taskstream <reminders@example.org>"],
    )
    public_url: AnyHttpUrl = Field(
        description="Address under which people reach Taskstream; links in mails begin with it.",
        examples=["https://tasks.example.org"],
    )
    smtp_timeout: float = Field(
        default=15.0, gt=0, le=20, description="Seconds for one mail, connecting included.", examples=[15.0]
    )
    retry_horizon_hours: float = Field(
        default=24.0,
        gt=0,
        le=240,
        description="Hours for which a channel that fails is tried again.",
        examples=[24.0],
    )
    email_concurrency: int = Field(
        default=4, ge=1, le=64, description="Mails that are handed over at the same time.", examples=[4]
    )
    inbox_concurrency: int = Field(
        default=16,
        ge=1,
        le=256,
        description="Inbox entries that are written at the same time.",
        examples=[16],
    )
    inbox_limit: int = Field(
        default=10_000,
        ge=100,
        le=1_000_000,
        description="Notifications that are kept per person; the oldest leave first.",
        examples=[10_000],
    )
    contact_cache_seconds: float = Field(
        default=30.0,
        ge=0,
        le=600,
        description="Seconds for which a person's address is remembered.",
        examples=[30.0],
    )

    @field_validator("smtp_url")
    @classmethod
    def _readable_smtp_url(cls, value: SecretStr) -> SecretStr:
        parse_smtp_url(value.get_secret_value())
        return value

    @field_validator("mail_from")
    @classmethod
    def _readable_sender(cls, value: str) -> str:
        parse_sender(value)
        return value

    @property
    def smtp_server(self) -> SmtpServer:
        return parse_smtp_url(self.smtp_url.get_secret_value())

    @property
    def sender(self) -> Address:
        return parse_sender(self.mail_from)

    @property
    def retry_horizon(self) -> timedelta:
        return timedelta(hours=self.retry_horizon_hours)
