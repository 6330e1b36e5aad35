"""What task-api reads from the environment."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service_kit.settings import ServiceSettings, check_url
from task_api.adapters.ed25519_tokens import read_private_keys
from task_api.adapters.fernet_seal import read_encryption_keys
from task_api.adapters.postgres.tls import MODES, check_agreement, check_authority

_DRIVER = "postgresql+asyncpg"
_LIBPQ_ONLY = frozenset({"sslmode", "connect_timeout", "application_name", "target_session_attrs"})
_FILES = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword"})


def asyncpg_url(url: str) -> str:
    """Give a PostgreSQL address for asyncpg: `postgres://` and `postgresql://` are meant, `sslmode` becomes `ssl`.

    Other parameters that only libpq knows are left out, files of certificates are refused. Raises ValueError.
    """
    check_url(SecretStr(url), schemes=("postgresql", "postgres", _DRIVER))
    parts = urlsplit(url)
    if parts.path in ("", "/"):
        raise ValueError("it names no database")
    given = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in given:
        if name == "sslmode" and value not in MODES:
            raise ValueError(f"its sslmode is none of {', '.join(MODES)}")
        if name in _FILES:
            raise ValueError(f"{name} is not taken from it: the authority is given in DATABASE_CA")
    query = [(name, value) for name, value in given if name not in _LIBPQ_ONLY]
    query += [("ssl", value) for name, value in given if name == "sslmode"]
    return urlunsplit((_DRIVER, parts.netloc, parts.path, urlencode(query), ""))


def _checked_keys(value: SecretStr) -> SecretStr:
    read_encryption_keys(value.get_secret_value())
    return value


EncryptionKeys = Annotated[
    SecretStr,
    AfterValidator(_checked_keys),
    Field(
        description=(
            "keys of 32 bytes in base64url, parted by commas, that addresses and secrets of notification channels are "
            "encrypted with. The first encrypts, all decrypt"
        ),
        examples=["made by: openssl rand -base64 32 | tr '+/' '-_'"],
    ),
]


class DatabaseSettings(BaseSettings):
    """Where PostgreSQL is: all that `python -m task_api migrate` reads, so that a job needs no other secret."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: SecretStr = Field(
        description="address of PostgreSQL",
        examples=["postgresql://taskstream:password@127.0.0.1:5432/taskstream"],
    )
    database_ca: str | None = Field(
        default=None,
        description=(
            "certificates, as PEM blocks, of the authority by which PostgreSQL's own is verified, or system for those "
            "of the operating system. sslmode in DATABASE_URL says how: require and verify-ca who signed it, "
            "verify-full its name as well"
        ),
        examples=["-----BEGIN CERTIFICATE----- …"],
    )

    @field_validator("database_url", mode="after")
    @classmethod
    def _database_address(cls, value: SecretStr) -> SecretStr:
        return SecretStr(asyncpg_url(value.get_secret_value()))

    @field_validator("database_ca", mode="after")
    @classmethod
    def _authority(cls, value: str | None) -> str | None:
        if value is not None:
            check_authority(value)
        return value

    @model_validator(mode="after")
    def _verified_as_asked(self) -> Self:
        check_agreement(self.database_url.get_secret_value(), self.database_ca)
        return self


class EncryptionSettings(DatabaseSettings):
    """What `python -m task_api renew-encryption` reads."""

    encryption_keys: EncryptionKeys


class Settings(ServiceSettings, DatabaseSettings):
    """The settings of task-api."""

    service_name: str = Field(
        default="task-api",
        min_length=1,
        description="name of the service: its Dapr app-id, consumer group and service.name",
        examples=["task-api"],
    )
    app_port: int = Field(default=8000, ge=1, le=65535, description="port to listen on", examples=[8000])
    database_pool_size: int = Field(
        default=10, ge=2, le=200, description="connections to PostgreSQL that requests share", examples=[10]
    )
    relay_lanes: int = Field(
        default=3,
        ge=1,
        le=10,
        description="batches of a backlog of events that are published at once, each on a connection of its own",
        examples=[3],
    )
    jwt_private_keys: SecretStr = Field(
        description=(
            "private Ed25519 keys as PEM blocks, one after another. The first signs, all verify; "
            "line breaks may be written as \\n"
        ),
        examples=["-----BEGIN PRIVATE KEY-----\\n…\\n-----END PRIVATE KEY-----"],
    )
    encryption_keys: EncryptionKeys
    password_workers: int = Field(
        default=2,
        ge=1,
        le=64,
        description="passwords that are hashed at the same time, each taking 19 MiB meanwhile",
        examples=[2],
    )

    deleted_tasks_retention_days: int = Field(
        default=90,
        ge=1,
        le=3650,
        description="days after which a deleted task is gone for good",
        examples=[90],
    )
    audit_retention_days: int = Field(
        default=90, ge=1, le=3650, description="days that the audit log goes back", examples=[90]
    )
    registration_open: bool = Field(
        default=True, description="whether people may make accounts for themselves", examples=[True]
    )
    rate_limits_enabled: bool = Field(
        default=True, description="whether requests are limited; off for benchmarks", examples=[True]
    )
    rate_limit_user: int = Field(
        default=100, ge=1, le=1_000_000, description="requests a minute of one user", examples=[100]
    )
    rate_limit_address: int = Field(
        default=1000, ge=1, le=1_000_000, description="requests a minute from one address", examples=[1000]
    )
    rate_limit_auth: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="requests a minute from one address to register, log in and refresh",
        examples=[10],
    )

    @field_validator("jwt_private_keys", mode="after")
    @classmethod
    def _signing_keys(cls, value: SecretStr) -> SecretStr:
        read_private_keys(value.get_secret_value())
        return value
