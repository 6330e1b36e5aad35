"""What this service reads from its environment."""

from __future__ import annotations

from pydantic import Field

from service_kit.settings import ServiceSettings


class RecurrenceSettings(ServiceSettings):
    """The settings of every service, with this one's name and port."""

    service_name: str = Field(
        default="recurrence",
        min_length=1,
        description="name of the service: its Dapr app-id, consumer group and service.name",
        examples=["recurrence"],
    )
    app_port: int = Field(default=8002, ge=1, le=65535, description="port to listen on", examples=[8002])
    rate_limits_enabled: bool = Field(
        default=True, description="whether requests are limited; off for benchmarks", examples=[True]
    )
    rate_limit_rules: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="requests a minute of one user to preview and parse rules",
        examples=[100],
    )
