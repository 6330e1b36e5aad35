"""A sidecar as the stack starts it, with the project's own components, for a service of a test."""

from __future__ import annotations

import subprocess
from pathlib import Path

from service_kit.testing.native_stack import NativeStack
from stack import Progress, processes, resources
from stack.layout import checkout
from stack.prepare import prepare

REPLICA = 4  # one that nobody starts by hand


def start_daprd(
    stack: NativeStack, log: Path, app_id: str, *, alone: bool = False
) -> subprocess.Popen[bytes]:
    """Start the sidecar of `app_id`, as the stack does; `alone` without an application behind it."""
    instance = stack.instance
    process = processes.sidecar(
        prepare(Progress()),
        instance.catalogue.named(app_id),
        instance.catalogue.index(app_id),
        REPLICA,
        instance.home,
        instance.facts,
        components=checkout() / "components",
        resources=resources.write(instance.home, instance.facts, otlp_endpoint=None),
        topics=False,
    )
    command = list(process.argv)
    if alone:
        at = command.index("--app-port")
        del command[at : at + 2]
        command.remove("--enable-app-health-check")
    with log.open("wb") as output:
        return subprocess.Popen(
            command, env=dict(process.environment), cwd=process.folder, stdout=output, stderr=output
        )
