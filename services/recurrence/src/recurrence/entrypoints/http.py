"""What this service answers to people and to probes: its health."""

from __future__ import annotations

from fastapi import FastAPI

from recurrence.application.keep_complete import DerivedState
from service_kit.health import Dependency, install_health
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Sidecar


class NotComplete(Exception):
    """The derived documents are not complete."""


def install_health_routes(
    app: FastAPI, settings: ServiceSettings, redis: Dependency, sidecar: Sidecar, state: DerivedState
) -> None:
    """Serve the health routes. Deliveries wait while Redis is away or the documents are being rebuilt."""

    async def documents_are_complete() -> None:
        if not state.is_complete:
            raise NotComplete

    install_health(
        app,
        settings,
        [
            redis,
            Dependency("documents", documents_are_complete, critical=True),
            Dependency("sidecar", sidecar.check, critical=False),
        ],
        sidecar,
    )
