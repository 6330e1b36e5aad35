"""`python -m service_kit.probe URL` ends with 0 when the address answers 200, else with 1 and one sentence.

For a container's HEALTHCHECK: the image has no curl, and this imports nothing that takes long.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

SECONDS = 4.0
"""Below the 5 s after which the container engine gives the probe itself up."""


def main() -> None:
    """Ask the address that is the only argument. Raises SystemExit with one sentence unless it answers 200."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m service_kit.probe URL")
    address = urlsplit(sys.argv[1])
    if address.scheme != "http" or not address.hostname:
        raise SystemExit(f"{sys.argv[1]!r} is no address: give http://host:port/path.")
    connection = HTTPConnection(address.hostname, address.port, timeout=SECONDS)
    try:
        connection.request("GET", address.path or "/")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise SystemExit(f"{sys.argv[1]} does not answer: {error}") from None
    finally:
        connection.close()
    if status != 200:
        raise SystemExit(f"{sys.argv[1]} answers {status}.")


if __name__ == "__main__":
    main()
