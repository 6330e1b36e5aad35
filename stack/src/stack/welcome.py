"""What a person reads after the first start: where to look, what to type, how to stop."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from stack.instance import Instance
from stack.ports import DEFAULT_INSTANCE


def welcome(stack: Instance) -> str:
    """The text for what runs: addresses, a session to paste into a shell, and how to stop."""
    command = own_command()
    chosen = "" if stack.name == DEFAULT_INSTANCE else f" --instance {stack.name}"
    running = stack.options.services
    parts = [_addresses(stack, running)]
    if "task-api" in running:
        parts.append(_session(stack.app_url("task-api"), command, chosen))
    parts.append(
        f"Look:  {command} status{chosen} · {command} logs -f NAME{chosen} · {command} mail{chosen}\n"
        f"Stop:  {command} down{chosen}  (the data stays; --wipe deletes it)"
    )
    return "\n\n".join(parts) + "\n"


def own_command() -> str:
    """How this command is called in the shell that reads this: by its name, or by the path to it."""
    installed = Path(sys.executable).parent / "stack"
    found = shutil.which("stack")
    if found is not None and Path(found).resolve() == installed.resolve():
        return "stack"
    return os.path.relpath(installed) if installed.is_relative_to(Path.cwd()) else str(installed)


def _addresses(stack: Instance, running: tuple[str, ...]) -> str:
    lines = [f"Instance {stack.name}"]
    for name in running:
        url = stack.app_url(name)
        lines.append(f"  {name:<12} {url}/docs   {url}/health")
    if running:
        lines.append(f"  {'exporter':<12} {stack.env()['EXPORTER_URL']}/metrics   (dead letters, lag)")
    if not running:
        lines += [f"  {name:<12} {stack.address(name)}" for name in ("postgres", "redis", "kafka", "smtp")]
        lines.append(f"  (passwords: {own_command()} env)")
    return "\n".join(lines)


def _session(api: str, command: str, chosen: str) -> str:
    # Lines end in a backslash inside a command, so the whole can be pasted at once.
    return f"""\
Try it: paste this into a shell. The reminder fires half a minute later.

  API={api}/api/v1  MAIL=ada-$$@taskstream.example  JSON='content-type: application/json'
  field() {{ python3 -c "import json,sys; print(json.load(sys.stdin)['$1'])"; }}
  DUE=$(python3 -c 'import time; print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60)))')

  AUTH="authorization: Bearer $(curl -s $API/auth/register -H "$JSON" -d '{{"email": "'$MAIL'",
    "password": "correct horse battery staple", "timezone": "Europe/Berlin"}}' | field access_token)"
  ID=$(curl -s $API/tasks -H "$AUTH" -H "$JSON" -d '{{"title": "Water the plants", "due_at": "'$DUE'",
    "reminders": [{{"offset": "PT30S"}}], "recurrence": {{"rrule": "FREQ=WEEKLY"}}}}' | field id)
  curl -s "$API/tasks" -H "$AUTH"                          # the list
  {command} mail{chosen} --to $MAIL --wait 60              # the reminder
  curl -s -X POST $API/tasks/$ID/complete -H "$AUTH"       # done: next week's follows
  curl -s $API/tasks/$ID/activity -H "$AUTH"               # what happened, and why"""
