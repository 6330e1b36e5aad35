"""Asks a process, in its own protocol, whether it is ready. Every question takes at most a second."""

from __future__ import annotations

import http.client
import socket
import struct
import subprocess
from pathlib import Path

_HOST = "127.0.0.1"
_TIMEOUT = 1.0


def postgres_accepts(pg_isready: Path, port: int, database: str) -> bool:
    """Whether the server takes connections, and is past its recovery."""
    try:
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
            [str(pg_isready), "-q", "-h", _HOST, "-p", str(port), "-d", database, "-t", "1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=3,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def redis_answers(port: int, password: str) -> bool:
    """Whether PING is answered: not before the data is loaded."""
    secret = password.encode()
    request = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n*1\r\n$4\r\nPING\r\n" % (len(secret), secret)
    return b"+PONG" in _exchange(port, request, until=b"+PONG")


def kafka_answers(port: int) -> bool:
    """Whether the broker answers ApiVersions, the question with which every client begins."""
    api_versions, version, correlation, no_client_id = 18, 0, 7, -1
    body = struct.pack(">hhih", api_versions, version, correlation, no_client_id)
    answer = _exchange(port, struct.pack(">i", len(body)) + body, until=None)
    # Size, correlation id, error code.
    return len(answer) >= 10 and struct.unpack(">ih", answer[4:10]) == (correlation, 0)


def smtp_greets(port: int) -> bool:
    return _exchange(port, b"QUIT\r\n", until=b"\r\n").startswith(b"220")


def http_answers(port: int, path: str) -> bool:
    """Whether GET on that path gives a 2xx."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        return 200 <= connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _exchange(port: int, request: bytes, *, until: bytes | None) -> bytes:
    """What comes back: up to ``until``, or the first piece; empty when nothing listens."""
    answer = b""
    try:
        with socket.create_connection((_HOST, port), timeout=_TIMEOUT) as connection:
            connection.settimeout(_TIMEOUT)
            connection.sendall(request)
            while piece := connection.recv(4096):
                answer += piece
                if until is None or until in answer:
                    break
    except OSError:
        return answer
    return answer
