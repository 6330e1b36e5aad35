"""A daprd that knows nothing but the state store, on a Redis of a test's own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import orjson

from service_kit.settings import ServiceSettings
from service_kit.sidecar import Sidecar
from service_kit.testing.waiting import eventually
from stack import Progress, resources
from stack.layout import checkout
from stack.ports import free_ports
from stack.prepare import prepare


class LoneSidecar(Sidecar):
    """The sidecar of the service that `settings` name, with the process behind it, which `start` starts."""

    def __init__(self, settings: ServiceSettings, folder: Path, redis_port: int) -> None:
        super().__init__(settings)
        self._app_id = settings.service_name
        self._http_port = settings.dapr_http_port
        self._folder = folder
        self._redis_port = redis_port
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Return once it answers."""
        self._process = await asyncio.to_thread(self._run)
        await eventually(self.healthy)

    async def stop(self) -> None:
        """End the process; nothing to do when it was not started."""
        await self.aclose()
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, 20)

    def _run(self) -> subprocess.Popen[bytes]:
        components = self._folder / "components"
        components.mkdir()
        shutil.copy(checkout() / "components/statestore.yaml", components)
        secrets = self._folder / "secrets.json"
        secrets.write_bytes(
            orjson.dumps(
                {"redis-secret": {"redis-host": f"127.0.0.1:{self._redis_port}", "redis-password": ""}}
            )
        )
        (components / "secretstore.yaml").write_text(resources.secret_store(secrets), encoding="utf-8")
        grpc, internal, metrics = free_ports(3)
        options = {
            "app-id": self._app_id,
            "resources-path": str(components),
            "dapr-http-port": str(self._http_port),
            "dapr-grpc-port": str(grpc),
            "dapr-internal-grpc-port": str(internal),
            "metrics-port": str(metrics),
            "dapr-listen-addresses": "127.0.0.1",
            "dapr-internal-grpc-listen-address": "127.0.0.1",
            "metrics-listen-address": "127.0.0.1",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with (self._folder / "daprd.log").open("wb") as output:
            return subprocess.Popen(
                [str(prepare(Progress()).daprd), *words],
                env={"DAPR_API_TOKEN": "dapr-token"},
                stdout=output,
                stderr=output,
            )
