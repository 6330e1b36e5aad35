"""The only reader of the environment."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from service_kit.settings import ServiceSettings


class RemindersSettings(ServiceSettings):
    """Settings of the reminders service; times are in seconds."""

    service_name: str = Field(default="reminders", description="name of the service", examples=["reminders"])
    app_port: int = Field(default=8001, ge=1, le=65535, description="port to listen on", examples=[8001])
    tick_seconds: float = Field(
        default=1.0,
        gt=0,
        le=3600,
        description="seconds between two ticks of reminder-cron; after three without one the service looks by itself",
        examples=[1.0],
    )
    lease_seconds: float = Field(
        default=15.0,
        ge=5,
        le=300,
        description="seconds for which a claimed reminder is hidden from the other replicas",
        examples=[15.0],
    )
    due_shards: int = Field(
        default=4,
        ge=1,
        le=64,
        description="number of sorted sets that the due index is spread over; it must stay as it is",
        examples=[4],
    )
    claim_batch: int = Field(
        default=200,
        ge=1,
        le=500,
        description="number of reminders claimed and published at once",
        examples=[200],
    )
    reconcile_seconds: float = Field(
        default=10.0,
        gt=0,
        le=20,
        description="seconds between two pages, of 500 tasks, that are compared with what task-api has",
        examples=[10.0],
    )

    @property
    def tick(self) -> timedelta:
        return timedelta(seconds=self.tick_seconds)

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)

    @property
    def reconcile_pause(self) -> timedelta:
        return timedelta(seconds=self.reconcile_seconds)
