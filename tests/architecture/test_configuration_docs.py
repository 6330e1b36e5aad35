"""The committed configuration pages say what the settings classes say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_configuration_pages_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, "docs/write_configuration.py", "--check"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, f"run `make settings-docs`\n{checked.stderr}"
