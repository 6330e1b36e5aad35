"""docs/api.md says what works: its commands are run in one shell against the served API."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from tests.integration.task_api.test_serving import served

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


async def test_every_command_of_the_page_works(settings: Any) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    script = "set -euo pipefail\n" + "\n".join(blocks)
    async with served(settings) as (client, _):
        shell = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            script.replace("${API:-http://127.0.0.1:8000}", str(client.base_url).rstrip("/")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            said, errors = await shell.communicate()
    assert shell.returncode == 0, said.decode()[-600:] + errors.decode()[-600:]


def test_every_route_is_on_the_page(app: Any) -> None:
    page = PAGE.read_text()
    for path in app.openapi()["paths"]:
        tail = re.split(r"\{\w+\}", path)[-1] or path.rsplit("/", 1)[0]
        assert tail.strip("/").split("/")[-1].split("{")[0] in page, path
