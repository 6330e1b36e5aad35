"""What this service reads from its environment."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from datetime import timedelta
from email.headerregistry import Address
from enum import StrEnum
from ipaddress import ip_network
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator

from notifier.domain.outbound import OutboundRule
from service_kit.settings import CommaSeparated, ServiceSettings

# FIPS 186-5: the order of the curve's base point, one more than the greatest private key.
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_LINK_SECRET_MIN = 32
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


def _parted(value: SecretStr) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.get_secret_value().split(",") if part.strip())


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
    link_secrets: SecretStr | None = Field(
        default=None,
        description="Random texts of 32 characters or more, separated by commas, that sign the links in mails. The "
        "first signs, all are accepted; without one mails have no links.",
        examples=["openssl rand -hex 32"],
    )
    links_url: AnyHttpUrl | None = Field(
        default=None,
        description="Address under which people reach this service, where it is not PUBLIC_URL.",
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
    outbound_allow_cidrs: CommaSeparated = Field(
        default=(),
        description="Networks, separated by commas, that people's webhooks, chats and browsers may lead to although "
        "they are not public.",
        examples=["192.168.1.0/24"],
    )
    outbound_timeout: float = Field(
        default=10.0,
        gt=0,
        le=20,
        description="Seconds for one message to a webhook, chat room or browser, connecting included.",
        examples=[10.0],
    )
    destination_concurrency: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Webhooks, chat rooms and browsers that are served at the same time.",
        examples=[64],
    )
    vapid_private_key: SecretStr | None = Field(
        default=None,
        description="P-256 private key towards push services, 32 bytes in base64url; without it nothing is pushed.",
        examples=["openssl rand 32 | basenc --base64url"],
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
    inbox_rebuild_days: int = Field(
        default=90,
        ge=1,
        le=3_650,
        description="Days that inboxes go back when they are built again after Redis was lost.",
        examples=[90],
    )
    streams_per_process: int = Field(
        default=10_000,
        ge=1,
        le=100_000,
        description="Live streams that one process serves at the same time; each needs an open file.",
        examples=[10_000],
    )
    streams_per_person: int = Field(
        default=10,
        ge=1,
        le=1_000,
        description="Live streams that one person may have open at one process.",
        examples=[10],
    )
    stream_heartbeat: float = Field(
        default=15.0,
        gt=0,
        le=30,
        description="Seconds of silence after which a live stream gets a sign of life, at most.",
        examples=[15.0],
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

    @field_validator("link_secrets")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and min(map(len, _parted(value)), default=0) < _LINK_SECRET_MIN:
            raise ValueError(f"each secret needs {_LINK_SECRET_MIN} characters or more")
        return value

    @field_validator("outbound_allow_cidrs")
    @classmethod
    def _readable_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            ip_network(one)
        return value

    @field_validator("vapid_private_key")
    @classmethod
    def _readable_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            text = value.get_secret_value()
            key = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if len(key) != 32 or not 0 < int.from_bytes(key, "big") < _P256_ORDER:
                raise ValueError("write it as the 32 bytes of a P-256 private key in base64url")
        return value

    @property
    def outbound_rule(self) -> OutboundRule:
        return OutboundRule(tuple(ip_network(one) for one in self.outbound_allow_cidrs))

    @property
    def link_keys(self) -> tuple[str, ...]:
        """The secrets that sign links, the one in use first; none when mails have no links."""
        return () if self.link_secrets is None else _parted(self.link_secrets)

    @property
    def links_address(self) -> str:
        return str(self.links_url or self.public_url)

    @property
    def smtp_server(self) -> SmtpServer:
        return parse_smtp_url(self.smtp_url.get_secret_value())

    @property
    def sender(self) -> Address:
        return parse_sender(self.mail_from)

    @property
    def retry_horizon(self) -> timedelta:
        return timedelta(hours=self.retry_horizon_hours)
