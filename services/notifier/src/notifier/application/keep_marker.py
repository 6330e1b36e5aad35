"""Keep the marker that says whose time the stored documents are of."""

from __future__ import annotations

from typing import Protocol

import structlog

from notifier.application.errors import NotReady
from notifier.application.ports import TaskApi

log = structlog.get_logger(__name__)


class Markers(Protocol):
    """The service's marker in the state store."""

    async def epoch(self) -> int | None:
        """The marker's epoch, None while there is no marker."""
        ...

    async def create(self, epoch: int) -> None:
        """Make one, unless another replica just did."""
        ...


class KeepMarker:
    """Says whether this service is ready, and makes the marker when it is missing.

    Without a marker the state store is new or was wiped: nothing is claimed and readiness is red until it is there.
    What was announced before a wipe is not brought back here.
    """

    def __init__(self, markers: Markers, task_api: TaskApi) -> None:
        self._markers = markers
        self._task_api = task_api
        self._ready = False

    def is_ready(self) -> bool:
        return self._ready

    async def check(self) -> None:
        """For readiness. Raises NotReady."""
        if not self._ready:
            raise NotReady("the marker is being made")

    async def step(self) -> None:
        """Look once. Raises what the state store and task-api raise; ready stays as it was when nothing is known."""
        if await self._markers.epoch() is None:
            self._ready = False
            epoch = await self._task_api.epoch()
            await self._markers.create(epoch)
            log.info("marker_created", epoch=epoch)
        self._ready = True
