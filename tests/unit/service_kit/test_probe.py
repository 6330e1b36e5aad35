"""The probe of a container tells an address that answers 200 from every other."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/live" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def _probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service_kit.probe", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_an_answer_of_200_is_health(address: str) -> None:
    assert _probe(f"{address}/health/live").returncode == 0


def test_any_other_answer_is_not(address: str) -> None:
    told = _probe(f"{address}/elsewhere")
    assert told.returncode == 1
    assert told.stderr == f"{address}/elsewhere answers 503.\n"


def test_silence_is_not() -> None:
    told = _probe("http://127.0.0.1:1/health/live")
    assert told.returncode == 1
    assert "does not answer" in told.stderr


@pytest.mark.parametrize("words", [(), ("localhost",), ("https://localhost/",), ("http://a/", "http://b/")])
def test_what_is_no_address_is_said(words: tuple[str, ...]) -> None:
    assert _probe(*words).returncode == 1
