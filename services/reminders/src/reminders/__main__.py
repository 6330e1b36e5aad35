"""`python -m reminders`: run the service."""

from __future__ import annotations

from reminders.app import build
from reminders.settings import RemindersSettings
from service_kit.http_app import serve
from service_kit.settings import load_settings


def main() -> None:
    settings = load_settings(RemindersSettings)
    serve(lambda: build(settings), settings)


if __name__ == "__main__":
    main()
