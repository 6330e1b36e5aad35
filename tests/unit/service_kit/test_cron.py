"""Ticks of cron bindings: hints that are never lost and never pile up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI

from service_kit.cron import on_cron
from service_kit.settings import ServiceSettings


class Work:
    def __init__(self) -> None:
        self.done = 0
        self.running = 0
        self.most_running = 0
        self.gate = asyncio.Event()
        self.started = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self) -> None:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.started.set()
        try:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            self.done += 1
        finally:
            self.running -= 1


@pytest.fixture
def work(app: FastAPI, settings: ServiceSettings) -> Work:
    doing = Work()
    on_cron(app, settings, "reminder-cron", doing)
    return doing


async def test_the_probe_is_answered_without_work(
    client: httpx.AsyncClient, work: Work, sidecar_headers: dict[str, str]
) -> None:
    answer = await client.options("/reminder-cron", headers=sidecar_headers)
    assert (answer.status_code, work.done) == (200, 0)


async def test_a_tick_does_the_work_before_it_is_answered(
    client: httpx.AsyncClient, work: Work, sidecar_headers: dict[str, str]
) -> None:
    answer = await client.post("/reminder-cron", headers=sidecar_headers)
    assert (answer.status_code, work.done) == (200, 1)


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
async def test_only_the_own_sidecar_ticks(
    client: httpx.AsyncClient, work: Work, sidecar_headers: dict[str, str], method: str
) -> None:
    for headers in ({}, sidecar_headers | {"dapr-caller-app-id": "task-api"}):
        assert (await client.request(method, "/reminder-cron", headers=headers)).status_code == 403
    assert work.done == 0


async def test_an_error_is_answered_with_200_logged_and_counted(
    client: httpx.AsyncClient,
    work: Work,
    sidecar_headers: dict[str, str],
    sample: Callable[..., float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = sample("cron_ticks_total", cron="reminder-cron", outcome="failed")
    work.error = RuntimeError("gone")
    assert (await client.post("/reminder-cron", headers=sidecar_headers)).status_code == 200
    assert sample("cron_ticks_total", cron="reminder-cron", outcome="failed") == before + 1
    assert "cron_tick_failed" in caplog.text
    work.error = None
    await client.post("/reminder-cron", headers=sidecar_headers)
    assert work.done == 1


async def test_ticks_during_a_tick_are_done_once_more_after_it(
    client: httpx.AsyncClient, work: Work, sidecar_headers: dict[str, str]
) -> None:
    work.gate.clear()
    first = asyncio.create_task(client.post("/reminder-cron", headers=sidecar_headers))
    await asyncio.wait_for(work.started.wait(), 5)
    for _ in range(5):
        assert (await client.post("/reminder-cron", headers=sidecar_headers)).status_code == 200
    assert work.done == 0
    work.gate.set()
    assert (await first).status_code == 200
    assert (work.done, work.most_running) == (2, 1)


async def test_the_last_tick_shows(
    client: httpx.AsyncClient, work: Work, sidecar_headers: dict[str, str], sample: Callable[..., float]
) -> None:
    await client.post("/reminder-cron", headers=sidecar_headers)
    assert abs(sample("last_tick_timestamp_seconds", cron="reminder-cron") - time.time()) < 5


async def test_successful_ticks_are_not_in_the_access_log(
    client: httpx.AsyncClient, work: Work, sidecar_headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await client.post("/reminder-cron", headers=sidecar_headers)
    assert [record for record in caplog.records if record.name == "service_kit.access"] == []
