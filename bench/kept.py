"""Results as files."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import machine

from stack.layout import checkout

RESULTS = Path(__file__).parent / "results"
LOCAL = RESULTS / "local"


class Kept:
    """One run: when it began and on what, and where its result goes."""

    def __init__(self) -> None:
        self._began = time.time()
        self._machine, self._commit = machine.facts(), _commit()
        self._stolen = machine.Stolen()

    def write(self, out: Path, **result: Any) -> Path:
        """Write the result as JSON and give the file."""
        whole = {
            "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._began)),
            "took_s": round(time.time() - self._began, 1),
            "commit": self._commit,
            "machine": {**self._machine, "stolen": round(self._stolen.share(), 3)},
            **result,
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        return out

    def local(self, name: str) -> Path:
        """Where a result goes that nobody asked to keep."""
        return LOCAL / f"{name}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(self._began))}.json"

    def shared(self) -> Path:
        """Where a result goes that is kept with the code: one a day and machine."""
        return RESULTS / f"{time.strftime('%Y-%m-%d', time.gmtime(self._began))}-{machine.label()}.json"


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=checkout(),
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip()
