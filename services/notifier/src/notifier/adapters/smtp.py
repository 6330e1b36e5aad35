"""Mail over SMTP, on a few connections that are kept for the next mail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage

import aiosmtplib

from notifier import metrics
from notifier.adapters.mail_message import MailComposer, mailbox
from notifier.application.errors import ChannelRefused, ChannelUnavailable
from notifier.domain.contact import Contact
from notifier.domain.wording import Message
from notifier.settings import SmtpServer, StartTls

_GREETING_SECONDS = 3.0
_START_TLS = {StartTls.AUTO: None, StartTls.REQUIRED: True, StartTls.NEVER: False}


class SmtpMailer:
    """Hands mails to one server. `timeout` (s) bounds a whole mail, not each line of the dialogue."""

    def __init__(self, server: SmtpServer, composer: MailComposer, *, timeout: float, spare: int = 4) -> None:
        self._server = server
        self._composer = composer
        self._timeout = timeout
        self._spare = spare
        self._idle: list[aiosmtplib.SMTP] = []

    async def send(self, message: Message, contact: Contact, at: datetime) -> None:
        """Send one reminder.

        Raises ChannelRefused when the server refuses the recipient or the content for good (5yz, RFC 5321, 4.2.1),
        else ChannelUnavailable: what is wrong with the server, the login or our own address can be mended.
        """
        mail = self._composer.compose(message, contact, at)
        try:
            async with asyncio.timeout(self._timeout):
                await self._hand_over(mail, mailbox(contact.email))
        except aiosmtplib.SMTPException as error:
            metrics.smtp_errors.labels(type(error).__name__).inc()
            raise _judged(error) from error
        except (OSError, TimeoutError) as error:
            kind = "timeout" if isinstance(error, TimeoutError) else "connection"
            metrics.smtp_errors.labels(kind).inc()
            raise ChannelUnavailable(f"mail server: {kind}") from error

    async def check(self) -> None:
        """Reach the server and leave. Raises what the connection raises."""
        client = self._client()
        try:
            await client.connect()
            await client.quit()
        finally:
            client.close()

    async def close(self) -> None:
        """Close the connections that are kept."""
        idle, self._idle = self._idle, []
        for client in idle:
            client.close()

    async def _hand_over(self, mail: EmailMessage, to: Address) -> None:
        client = await self._connected()
        sender = mail["From"].addresses[0].addr_spec
        await _or_close(client, client.send_message(mail, sender=sender, recipients=[to.addr_spec]))
        if len(self._idle) < self._spare:
            self._idle.append(client)
        else:
            client.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        while self._idle:
            client = self._idle.pop()
            with suppress(aiosmtplib.SMTPException, OSError):
                await _or_close(client, client.rset(timeout=_GREETING_SECONDS))
                return client
        client = self._client()
        await _or_close(client, client.connect())
        return client

    def _client(self) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self._server.host,
            port=self._server.port,
            username=self._server.username,
            password=self._server.password,
            use_tls=self._server.implicit_tls,
            start_tls=_START_TLS[self._server.start_tls],
            timeout=self._timeout,
            local_hostname="taskstream.local",
        )


async def _or_close(client: aiosmtplib.SMTP, dialogue: Awaitable[object]) -> None:
    """Close the connection when the dialogue does not end well, cancelled ones included: its state is unknown."""
    try:
        await dialogue
    except BaseException:
        client.close()
        raise


def _judged(error: aiosmtplib.SMTPException) -> ChannelRefused | ChannelUnavailable:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        error = error.recipients[0]
    for_good = isinstance(error, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        reason = f"mail server answered {error.code}"
        if for_good and 500 <= error.code < 600:
            return ChannelRefused(reason)
        return ChannelUnavailable(reason)
    kind = "timeout" if isinstance(error, TimeoutError) else type(error).__name__
    return ChannelUnavailable(f"mail server: {kind}")
