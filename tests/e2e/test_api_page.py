"""docs/api.md says what works: its commands are run in one shell against the running services, and leave none out."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

import httpx
import pytest

from event_contracts.topics import SERVICES
from stack import Instance

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"
_CALLED = re.compile(r"^called (\w+) (\d+) (\S+?)(?:\?\S*)?$", re.MULTILINE)

Called = set[tuple[str, str]]
"""Method and address, without its query."""


def _script() -> str:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return "set -euo pipefail\n" + "\n".join(blocks)


async def _run(system: Instance, folder: Path) -> Called:
    """Run the page's commands, as they are written; the calls that were answered with success."""
    curl = folder / "curl"
    # A curl that says besides what it called.
    curl.write_text(
        f"#!/bin/sh\nexec {shutil.which('curl')} "
        """--write-out '%{stderr}called %{method} %{http_code} %{url_effective}\\n' "$@"\n"""
    )
    curl.chmod(0o755)
    addresses = {service: system.app_url(service) for service in SERVICES}
    shell = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        _script(),
        cwd=ROOT,
        env=os.environ
        | {"PATH": f"{folder}:{os.environ['PATH']}", "TASKSTREAM_INSTANCE": system.name}
        | {"API" if name == "task-api" else name.upper(): url for name, url in addresses.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(180):
        said, errors = (stream.decode() for stream in await shell.communicate())
    assert shell.returncode == 0, said[-600:] + errors[-2_000:]
    return {(method, url) for method, status, url in _CALLED.findall(errors) if status.startswith("2")}


async def _routes(system: Instance) -> list[tuple[str, str, re.Pattern[str]]]:
    """Service, `METHOD /path` and the addresses that lead there, of every route that a service describes."""
    routes = []
    async with httpx.AsyncClient() as client:
        for service in SERVICES:
            base = system.app_url(service)
            document = (await client.get(f"{base}/openapi.json")).raise_for_status().json()
            for path, methods in document["paths"].items():
                parts = [
                    "[^/]+" if part.startswith("{") else re.escape(part)
                    for part in re.split(r"(\{\w+\})", path)
                ]
                address = re.compile(re.escape(base) + "".join(parts))
                routes += [(service, f"{method.upper()} {path}", address) for method in methods]
    return routes


@pytest.mark.usefixtures("person")
async def test_every_command_of_the_page_works_and_every_route_is_on_it(
    system: Instance, tmp_path: Path
) -> None:
    called = await _run(system, tmp_path)
    missing = [
        f"{service}: {route}"
        for service, route, address in await _routes(system)
        if not any(method == route.split(" ")[0] and address.fullmatch(url) for method, url in called)
    ]
    assert not missing, f"give each a command in docs/api.md: {missing}"
