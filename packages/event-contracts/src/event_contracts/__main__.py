"""`python -m event_contracts FOLDER`: write the JSON Schemas into FOLDER and name the files that changed."""

from __future__ import annotations

import sys
from pathlib import Path

from event_contracts.schemas import write_schemas


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m event_contracts FOLDER\n")
        return 2
    for path in write_schemas(Path(arguments[0])):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
