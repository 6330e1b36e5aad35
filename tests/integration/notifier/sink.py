"""A mail server in the test's own event loop that takes, refuses or leaves waiting what it is told to."""

from __future__ import annotations

import asyncio
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY

from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"


class Sink:
    """`sender`, `rcpt` and `data` are the answers to MAIL FROM, RCPT TO and DATA; no answer to DATA while `gate` is
    closed. `open` are the connections there are."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.sender = "250 OK"
        self.rcpt = "250 OK"
        self.data = "250 OK"
        self.gate = asyncio.Event()
        self.gate.set()
        self.connections = 0
        self.held = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self.open: set[asyncio.BaseTransport] = set()

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.sender.startswith("250"):
            envelope.mail_from = address
        return self.sender

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.held += 1
        await self.gate.wait()
        self.held -= 1
        if self.data.startswith("250"):
            assert isinstance(envelope.content, bytes)
            mail = message_from_bytes(envelope.content, policy=SMTP_POLICY)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.recipients += envelope.rcpt_tos
        return self.data

    async def start(self) -> None:
        """Listen; on the same port as before when it was stopped."""
        loop = asyncio.get_running_loop()

        def session() -> SMTP:
            self.connections += 1
            sink = self

            class Protocol(SMTP):
                def connection_made(self, transport: asyncio.BaseTransport) -> None:
                    sink.open.add(transport)
                    self._mine = transport
                    super().connection_made(transport)

                def connection_lost(self, error: Exception | None) -> None:
                    sink.open.discard(self._mine)
                    super().connection_lost(error)

            return Protocol(self, hostname="sink.local", loop=loop)

        self._server = await loop.create_server(session, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            for transport in self.open:
                transport.close()
            self.open.clear()
            await asyncio.sleep(0)
            await self._server.wait_closed()
            self._server = None
