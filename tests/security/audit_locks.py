"""Ask the advisory database about every package of the hashed locks: `make audit`.

Exit status: 0 nothing known, 1 something is, 2 the database does not answer, 3 it answers, but not for every package.
`--if-reachable` makes 2, and nothing else, 0: for runs that must not fail by a network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 300
CLEAN, KNOWN, UNREACHABLE, INCOMPLETE = range(4)


def locks() -> list[Path]:
    """Every lock of the repository."""
    found = (path.relative_to(ROOT) for path in ROOT.glob("**/requirements*.lock"))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.parts))


def verdict(report: dict[str, Any]) -> tuple[int, list[str]]:
    """Give the exit status and the lines for a report of pip-audit."""
    packages = report["dependencies"]
    known = [
        f"{one['name']} {one['version']}: {advisory['id']}, mended in {', '.join(advisory['fix_versions']) or '-'}"
        for one in packages
        for advisory in one.get("vulns", ())
    ]
    unasked = [one["name"] for one in packages if "skip_reason" in one]
    if known:
        return KNOWN, known
    if len(unasked) == len(packages):
        # A mirror of packages answers like this: it has no advisories at all.
        return UNREACHABLE, ["What answers is no advisory database: it knows nothing of any package."]
    if unasked:
        few = ", ".join(unasked[:3])
        return INCOMPLETE, [
            f"The advisory database knows nothing of {len(unasked)} of {len(packages)} packages ({few} …)."
        ]
    return CLEAN, [f"No advisory is known for any of {len(packages)} packages."]


def ask(program: str) -> tuple[int, list[str]]:
    """Run pip-audit over all locks; nothing is installed for it."""
    command = [program, "--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    for lock in locks():
        command += ["--requirement", str(lock)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
        return verdict(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return UNREACHABLE, [
            "The advisory database does not answer: run `make audit` again with a way to it."
        ]


def main(arguments: list[str]) -> int:
    """Print what was found."""
    *options, program = arguments
    status, lines = ask(program)
    print("\n".join(f"audit: {line}" for line in lines), file=sys.stderr if status else sys.stdout)
    return CLEAN if status == UNREACHABLE and "--if-reachable" in options else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
