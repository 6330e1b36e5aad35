"""The native local stack: real PostgreSQL, Redis, Kafka and Dapr sidecars as ordinary processes.

``Instance`` is the way in for tests and benchmarks; the ``stack`` command is the way in for people.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stack.errors import (
        MissingToolError,
        NotReadyError,
        NotRunningError,
        PortBusyError,
        StackError,
        StepFailedError,
    )
    from stack.instance import Instance, Options, ProcessStatus
    from stack.mail import Mail
    from stack.progress import Progress
    from stack.services import TASKSTREAM, Catalogue, Service

__all__ = [
    "TASKSTREAM",
    "Catalogue",
    "Instance",
    "Mail",
    "MissingToolError",
    "NotReadyError",
    "NotRunningError",
    "Options",
    "PortBusyError",
    "ProcessStatus",
    "Progress",
    "Service",
    "StackError",
    "StepFailedError",
]

_HOMES = {
    "TASKSTREAM": "stack.services",
    "Catalogue": "stack.services",
    "Instance": "stack.instance",
    "Mail": "stack.mail",
    "Options": "stack.instance",
    "ProcessStatus": "stack.instance",
    "Progress": "stack.progress",
    "Service": "stack.services",
}


def __getattr__(name: str) -> object:
    # Looked up when first used: a command that finds nothing to do must not load all of this.
    if name not in __all__:
        raise AttributeError(f"module 'stack' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "stack.errors")), name)
