"""What task-api reads from the environment."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service_kit.settings import ServiceSettings, check_url
from task_api.adapters.ed25519_tokens import read_private_keys

_DRIVER = "postgresql+asyncpg"
_LIBPQ_ONLY = frozenset({"sslmode", "connect_timeout", "application_name", "target_session_attrs"})


def asyncpg_url(url: str) -> str:
    """Give a PostgreSQL address for asyncpg: `postgres://` and `postgresql://` are meant, `sslmode` becomes `ssl`.

    Other parameters that only libpq knows are left out. Raises ValueError.
    """
    check_url(SecretStr(url), schemes=("postgresql", "postgres", _DRIVER))
    parts = urlsplit(url)
    if parts.path in ("", "/"):
        raise ValueError("it names no database")
    given = parse_qsl(parts.query, keep_blank_values=True)
    query = [(name, value) for name, value in given if name not in _LIBPQ_ONLY]
    query += [("ssl", value) for name, value in given if name == "sslmode"]
    return urlunsplit((_DRIVER, parts.netloc, parts.path, urlencode(query), ""))


class Settings(ServiceSettings):
    """The settings of task-api."""

    service_name: str = Field(
        default="task-api",
        min_length=1,
        description="name of the service: its Dapr app-id, consumer group and service.name",
        examples=["task-api"],
    )
    app_port: int = Field(default=8000, ge=1, le=65535, description="port to listen on", examples=[8000])
    database_url: SecretStr = Field(
        description="address of PostgreSQL",
        examples=["postgresql://taskstream:password@127.0.0.1:5432/taskstream"],
    )
    database_pool_size: int = Field(
        default=10, ge=2, le=200, description="connections to PostgreSQL that requests share", examples=[10]
    )
    jwt_private_keys: SecretStr = Field(
        description=(
            "private Ed25519 keys as PEM blocks, one after another. The first signs, all verify; "
            "line breaks may be written as \\n"
        ),
        examples=["-----BEGIN PRIVATE KEY-----\\n…\\n-----END PRIVATE KEY-----"],
    )
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

    @field_validator("database_url", mode="after")
    @classmethod
    def _database_address(cls, value: SecretStr) -> SecretStr:
        return SecretStr(asyncpg_url(value.get_secret_value()))

    @field_validator("jwt_private_keys", mode="after")
    @classmethod
    def _signing_keys(cls, value: SecretStr) -> SecretStr:
        read_private_keys(value.get_secret_value())
        return value


class MigrationSettings(BaseSettings):
    """What `python -m task_api migrate` reads: the database's address alone, so that a job needs no other secret."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: SecretStr = Field(
        description="address of PostgreSQL",
        examples=["postgresql://taskstream:password@127.0.0.1:5432/taskstream"],
    )

    @field_validator("database_url", mode="after")
    @classmethod
    def _database_address(cls, value: SecretStr) -> SecretStr:
        return SecretStr(asyncpg_url(value.get_secret_value()))
