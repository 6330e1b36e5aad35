"""`python -m recurrence` runs the service."""

from __future__ import annotations

from recurrence.app import build
from recurrence.settings import RecurrenceSettings
from service_kit.http_app import serve
from service_kit.settings import load_settings


def main() -> None:
    """Serve until told to stop. Raises SystemExit with a sentence when a setting is missing or wrong."""
    settings = load_settings(RecurrenceSettings)
    serve(lambda: build(settings), settings)


if __name__ == "__main__":
    main()
