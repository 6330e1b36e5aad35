"""What a figure was measured on: facts that change it, and none that say whose machine it is."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import psutil


def facts() -> dict[str, Any]:
    """Give processor, cores, memory, system and Python, and what else ran in the minute before."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


class Stolen:
    """How much of the machine's processor time its host gave to other machines, from now on."""

    def __init__(self) -> None:
        self._before = _steal()
        self._began = time.monotonic()

    def share(self) -> float:
        """The part of all cores' time since then; 0 where the system does not tell."""
        possible = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        return (_steal() - self._before) / possible if possible else 0.0


def _steal() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def label() -> str:
    """Give a short name for files: cores and processor."""
    words = re.sub(r"[^a-z0-9]+", "-", _processor().lower()).strip("-")
    return f"{os.cpu_count()}-cores-{words}"[:48].rstrip("-")


def _processor() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()
