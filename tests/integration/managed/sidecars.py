"""daprd with the components of the overlay for managed stores, its secrets answered by a store of files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from tests.deploy.rendering import NAMESPACE, Manifest, named

from service_kit.testing.waiting import eventually
from stack import Progress, resources
from stack.ports import free_ports
from stack.prepare import prepare

TOKEN = "dapr-token"


@dataclass(frozen=True)
class Running:
    """A sidecar; `client` talks to it."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient
    log: Path

    async def healthy(self) -> bool:
        """Whether every component was taken up."""
        try:
            return (await self.client.get("/v1.0/healthz")).is_success
        except httpx.TransportError:
            return False

    async def gave_up(self) -> bool:
        """Whether it ended by itself, with an error."""
        return bool(self.process.returncode)

    async def says(self, words: str) -> bool:
        return words in self.log.read_text(errors="replace")


@asynccontextmanager
async def sidecar(
    folder: Path, app_id: str, cluster: list[Manifest], components: tuple[str, ...],
    secrets: Mapping[str, Mapping[str, str]], *, app_port: int | None = None, authority: str = "",
) -> AsyncIterator[Running]:  # fmt: skip
    """It is ended with the block. `authority` is what the chart mounts for it (dapr.authority)."""
    home = folder / app_id
    (home / "components").mkdir(parents=True)
    for name in components:
        text = yaml.safe_dump(named(cluster, "Component", name))
        (home / "components" / f"{name}.yaml").write_text(text, encoding="utf-8")
    known = home / "secrets.json"
    known.write_text(json.dumps(secrets), encoding="utf-8")
    (home / "components/secretstore.yaml").write_text(resources.secret_store(known), encoding="utf-8")
    http, grpc, internal, metrics = free_ports(4)
    options = {
        "app-id": app_id,
        "resources-path": home / "components",
        "dapr-http-port": http,
        "dapr-grpc-port": grpc,
        "dapr-internal-grpc-port": internal,
        "metrics-port": metrics,
        "dapr-listen-addresses": "127.0.0.1",
        "dapr-internal-grpc-listen-address": "127.0.0.1",
        "metrics-listen-address": "127.0.0.1",
        **({} if app_port is None else {"app-port": app_port, "app-channel-address": "127.0.0.1"}),
    }
    environment = {"DAPR_API_TOKEN": TOKEN, "NAMESPACE": NAMESPACE}
    if authority:
        (home / "authority").mkdir()
        (home / "authority/ca.crt").write_text(authority, encoding="utf-8")
        environment["SSL_CERT_DIR"] = str(home / "authority")
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    log = home / "daprd.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str(prepare(Progress()).daprd), *words, env=environment, stdout=output, stderr=output
        )
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{http}", headers={"dapr-api-token": TOKEN}, trust_env=False
        ) as client:
            yield Running(process, client, log)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def ready(running: Running) -> Running:
    """The sidecar, once it is healthy."""
    await eventually(running.healthy)
    return running
