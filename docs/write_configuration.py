"""Write .env.example and docs/configuration.md from the settings classes: `make settings-docs`.

With `--check` nothing is written; the exit status says whether the files are up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from notifier.settings import NotifierSettings
from recurrence.settings import RecurrenceSettings
from reminders.settings import RemindersSettings
from service_kit.settings import ServiceSettings, SettingDoc, describe_settings
from task_api.settings import Settings as TaskApiSettings

ROOT = Path(__file__).parents[1]
SERVICES: tuple[tuple[str, type[ServiceSettings]], ...] = (
    ("task-api", TaskApiSettings),
    ("reminders", RemindersSettings),
    ("recurrence", RecurrenceSettings),
    ("notifier", NotifierSettings),
)
_INTRODUCTION = """# Configuration

Every service reads its settings from the environment and from nowhere else. A value that is missing or wrong stops the
start with a sentence that says what to set. This page is written by `make settings-docs`.

## Every service
"""
_OWN_DEFAULTS = {"SERVICE_NAME", "APP_PORT"}


def _shared() -> list[SettingDoc]:
    return [doc for doc in describe_settings(ServiceSettings) if doc.name not in _OWN_DEFAULTS]


def _own(settings: type[ServiceSettings]) -> list[SettingDoc]:
    shared = {doc.name: doc for doc in _shared()}
    return [doc for doc in describe_settings(settings) if shared.get(doc.name) != doc]


def _row(doc: SettingDoc) -> str:
    default = "must be set" if doc.default is None else (f"`{doc.default}`" if doc.default else "not set")
    example = f"`{doc.example}`" if doc.example else ""
    kind = doc.type.replace("|", "\\|")
    return f"| `{doc.name}` | {doc.description} | {kind} | {default} | {example} |"


def configuration() -> str:
    """The text of docs/configuration.md."""
    head = "| variable | what it is | type | default | example |\n| --- | --- | --- | --- | --- |"
    parts = [
        _INTRODUCTION,
        "\n".join([head, *(_row(doc) for doc in _shared())]),
    ]
    for name, settings in SERVICES:
        parts.append(f"\n## {name}\n\n" + "\n".join([head, *(_row(doc) for doc in _own(settings))]))
    return "\n".join(parts) + "\n"


def _assignment(doc: SettingDoc) -> str:
    value = doc.default or (doc.example or "")
    commented = "" if doc.default is None else "# "
    return f"# {doc.description}\n{commented}{doc.name}={'' if doc.secret else value}"


def env_example() -> str:
    """The text of .env.example: what must be set stands open, empty where it is secret; the rest is commented out."""
    blocks = ["# Written by `make settings-docs`. The native stack sets all of it.\n\n# --- every service\n"]
    blocks += [_assignment(doc) for doc in _shared()]
    for name, settings in SERVICES:
        blocks.append(f"\n# --- {name}\n")
        blocks += [_assignment(doc) for doc in _own(settings)]
    return "\n".join(blocks) + "\n"


def main(arguments: list[str]) -> int:
    wanted = {ROOT / "docs/configuration.md": configuration(), ROOT / ".env.example": env_example()}
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
