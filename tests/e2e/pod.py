"""One more replica of a service and its sidecar, ended as Kubernetes ends a pod of the chart."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.rendering import VALUES, helm_template, parse, pods
from tests.deploy.toolbox import toolbox
from tests.e2e.eventually import eventually

from stack import Instance, Progress, processes, resources
from stack.layout import checkout
from stack.prepare import prepare

REPLICA = 3
"""One that the system of this lane does not have."""


@dataclass(frozen=True)
class Farewell:
    """What the chart says of the end of a pod, in seconds."""

    drain: int
    """The app's preStop: it is told to end so much later. The sidecar, whose container has none, is told at once."""
    block: int
    graceful: int
    grace: int
    """After this everything that is left is killed."""

    @classmethod
    def of(cls, service: str) -> Farewell:
        chart = parse(helm_template(toolbox(), *VALUES["production"]))
        (pod,) = (
            one for one in pods(chart)
            if one.owner["kind"] == "Deployment" and one.owner["metadata"]["name"] == service
        )  # fmt: skip
        return cls(
            drain=pod.spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"],
            block=int(pod.annotations["dapr.io/block-shutdown-duration"].removesuffix("s")),
            graceful=int(pod.annotations["dapr.io/graceful-shutdown-seconds"]),
            grace=pod.spec["terminationGracePeriodSeconds"],
        )


class Pod:
    """`with Pod(…) as pod` starts both processes; whatever is left of them is killed at the end."""

    def __init__(self, instance: Instance, service: str, folder: Path, farewell: Farewell) -> None:
        self.service, self.farewell = service, farewell
        self.url = instance.app_url(service, REPLICA)
        named, index = instance.catalogue.named(service), instance.catalogue.index(service)
        extra = {**instance.options.env, "RATE_LIMITS_ENABLED": "false"}
        settings = processes.service_environment(
            named, index, REPLICA, instance.facts, test_clock=False, extra=extra
        )
        self._app = processes.app(named, index, REPLICA, instance.home, instance.facts, settings)
        self._sidecar = processes.sidecar(
            prepare(Progress()), named, index, REPLICA, instance.home, instance.facts,
            components=checkout() / "components",
            resources=resources.Resources(instance.home / "resources", instance.home / "configuration.yaml"),
            topics=False,
        )  # fmt: skip
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    async def start(self) -> None:
        """Return once both are ready."""
        farewell = (
            f"--dapr-block-shutdown-duration={self.farewell.block}s",
            f"--dapr-graceful-shutdown-seconds={self.farewell.graceful}",
        )
        for process, more in ((self._app, ()), (self._sidecar, farewell)):
            with self._log(process.name).open("wb") as log:
                self._running[process.name] = subprocess.Popen(  # noqa: ASYNC220 - two of them, once
                    [*process.argv, *more], env=dict(process.environment), cwd=process.folder,
                    stdout=log, stderr=log,
                )  # fmt: skip
        for process in (self._app, self._sidecar):
            await eventually(
                _asked(process.ready), seconds=process.ready_within, what=f"the start of {process.name}"
            )

    async def end(self) -> None:
        """As the kubelet does it: the sidecar is told, `drain` later the app; both are gone within the grace period."""
        app, sidecar = (self._running[one.name] for one in (self._app, self._sidecar))
        async with asyncio.timeout(self.farewell.grace):
            sidecar.terminate()
            await asyncio.sleep(self.farewell.drain)
            assert sidecar.poll() is None, "the sidecar went before its app"
            app.terminate()
            while app.poll() is None or sidecar.poll() is None:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """What is left."""
        for process in self._running.values():
            process.kill()
            process.wait()

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def _asked(ready: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    return lambda: asyncio.to_thread(ready)
