"""Results as files: each part of a result with when, on what and of which commit it was measured."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import machine

from stack.layout import checkout

RESULTS = Path(__file__).parent / "results"
LOCAL = RESULTS / "local"


class Origin:
    """Where a measurement that begins now comes from; `facts` are those of the moment before the first of its run, for
    the machine's load is then that of others."""

    def __init__(self, facts: Mapping[str, Any] | None = None) -> None:
        self._began = time.time()
        self._facts, self._commit, self._stolen = facts or machine.facts(), _commit(), machine.Stolen()

    def told(self) -> dict[str, Any]:
        """Give it, once the measurement is over."""
        return {
            "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._began)),
            "took_s": round(time.time() - self._began, 1),
            "commit": self._commit,
            "machine": {**self._facts, "stolen": round(self._stolen.share(), 3)},
        }


def write(out: Path, result: Mapping[str, Any]) -> Path:
    """Write a result as JSON and give the file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return out


def put(out: Path, name: str, part: Mapping[str, Any], order: Sequence[str]) -> Path:
    """Put a part into a result, in the place of what the file has of it; the other parts stay. Gives the file."""
    before: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    parts = {**before.get("parts", {}), name: part}
    return write(out, {"parts": {one: parts[one] for one in order if one in parts}})


def local(name: str) -> Path:
    """Where a result goes that nobody asked to keep."""
    return LOCAL / f"{name}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.json"


def shared() -> Path:
    """Where a result goes that is kept with the code: one a day and machine."""
    return RESULTS / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{machine.label()}.json"


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=checkout(),
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip()
