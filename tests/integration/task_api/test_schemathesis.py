"""The served API against its own OpenAPI document: every operation, with good and bad data, alone and in sequences."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.task_api.test_serving import served

from service_kit.testing.tokens import SigningKey, make_token

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


async def told(base_url: str, known: dict[str, str], report: Path, *options: str) -> tuple[int | None, str]:
    """Let schemathesis run; its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("st"),
        f"--config-file={CONFIGURATION}",
        "run",
        f"{base_url}/openapi.json",
        "--no-color",
        "--report=json",
        f"--report-json-path={report}",
        *options,
        cwd=report.parent,
        env={"PATH": os.environ["PATH"], **known},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    ("examples", "at_least"), [(2, 1_000), pytest.param(100, 5_000, marks=pytest.mark.nightly)]
)
async def test_the_api_is_as_its_document_says(
    settings: Any, signing_key: SigningKey, ada: Any, tmp_path: Path, examples: int, at_least: int
) -> None:
    fields = {"recurrence": {"rrule": "FREQ=DAILY"}, "reminders": [{"offset": "PT30M"}]}
    task = await ada.call(
        "POST", "/api/v1/tasks", 201, json={"title": "Water the plants", "due_date": "2999-01-06", **fields}
    )
    # A token without a session: logging out, which is called as well, ends nothing.
    token = make_token(signing_key, ada.id, roles=("admin",), expires_in=timedelta(hours=2))
    known = {
        "ACCESS_TOKEN": token,
        "TASK_ID": task.json()["id"],
        "REMINDER_ID": task.json()["reminders"][0]["id"],
        "SERIES_ID": task.json()["series_id"],
        "UNDO_TOKEN": task.headers["x-undo-token"],
    }
    report = tmp_path / "report.json"
    async with served(settings, RATE_LIMITS_ENABLED="false", LOG_LEVEL="error") as (client, _):
        address = str(client.base_url).rstrip("/")
        code, said = await told(address, known, report, f"--max-examples={examples}")
        assert code == 0, said
        # Else all of it may have been told at the gate to go away, which is a documented answer.
        answer = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
    counted = json.loads(report.read_text())
    assert counted["operations"]["tested"] == counted["operations"]["total"]
    assert {phase["status"] for phase in counted["phases"].values()} == {"success"}
    assert counted["test_cases"]["generated"] >= at_least
