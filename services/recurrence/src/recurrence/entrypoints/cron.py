"""The hourly tick of the cron binding `recurrence-cron`."""

from __future__ import annotations

from fastapi import FastAPI

from recurrence.application.by_schedule import BySchedule
from recurrence.application.repair import Repair
from service_kit.cron import on_cron
from service_kit.settings import ServiceSettings

BINDING = "recurrence-cron"


def install_cron(app: FastAPI, settings: ServiceSettings, repair: Repair, by_schedule: BySchedule) -> None:
    """Sweep at each tick; every replica does, and they share what is due."""

    async def sweep() -> None:
        await repair.sweep()
        await by_schedule.sweep()

    on_cron(app, settings, BINDING, sweep)
