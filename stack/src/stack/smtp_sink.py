"""A mail server that takes every mail and keeps it as a file: ``python -m stack.smtp_sink``."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from stack.services import HOST

_MAX_BYTES = 10_000_000


class FileSink:
    """Keeps each mail in a file of its own; file names sort by time of arrival."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        content = envelope.content or b""
        body = content.encode() if isinstance(content, str) else content
        head = "".join(
            [
                f"Return-Path: <{envelope.mail_from or ''}>\r\n",
                *(f"Delivered-To: {recipient}\r\n" for recipient in envelope.rcpt_tos),
            ]
        )
        # Off the event loop: the answer 250 is a promise, given once the mail is on the disk.
        await asyncio.to_thread(self._keep, head.encode() + body)
        return "250 OK"

    def _keep(self, mail: bytes) -> None:
        name = f"{time.time_ns():020d}-{next(self._numbers):06d}.eml"
        draft = self._folder / f".{name}.part"
        with draft.open("wb") as handle:
            handle.write(mail)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(self._folder / name)


async def serve(port: int, folder: Path) -> None:
    """Serves on loopback until SIGTERM or SIGINT."""
    sink = FileSink(folder)
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)

    def session() -> SMTP:
        return SMTP(sink, data_size_limit=_MAX_BYTES, enable_SMTPUTF8=True, hostname="taskstream.local")

    server = await loop.create_server(session, HOST, port)
    print(f"taking mail on {HOST}:{port}, keeping it in {folder}", flush=True)
    async with server:
        await over.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(words.port, words.folder))


if __name__ == "__main__":
    main()
