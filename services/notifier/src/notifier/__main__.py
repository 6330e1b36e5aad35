"""`python -m notifier`: run the service."""

from __future__ import annotations

from notifier.app import build
from notifier.settings import NotifierSettings
from service_kit.http_app import serve
from service_kit.settings import load_settings


def main() -> None:
    settings = load_settings(NotifierSettings)
    serve(lambda: build(settings), settings)


if __name__ == "__main__":
    main()
