"""Mail over real sockets: what arrives, what each kind of refusal means, and which connections stay."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from tests.integration.notifier.sink import HOST, Sink
from tests.unit.notifier.samples import START, contact, message

from notifier.adapters.languages import Languages
from notifier.adapters.mail_message import MailComposer
from notifier.adapters.smtp import SmtpMailer
from notifier.application.errors import ChannelRefused, ChannelUnavailable
from notifier.settings import parse_sender, parse_smtp_url
from service_kit.testing.waiting import eventually

Mailers = Callable[..., SmtpMailer]


@pytest_asyncio.fixture(loop_scope="session")
async def mailer_for() -> AsyncIterator[Mailers]:
    made: list[SmtpMailer] = []

    def make(port: int, timeout: float = 5.0, query: str = "", credentials: str = "") -> SmtpMailer:
        server = parse_smtp_url(f"smtp://{credentials}{HOST}:{port}{query}")
        composer = MailComposer(parse_sender("Taskstream <reminders@example.org>"), Languages(), None)
        made.append(SmtpMailer(server, composer, timeout=timeout))
        return made[-1]

    yield make
    for mailer in made:
        await mailer.close()


async def test_a_mail_arrives_as_it_was_made(sink: Sink, mailer_for: Mailers) -> None:
    told = message(title="Grüße an 🪴 <Ada>")
    await mailer_for(sink.port).send(told, contact(), START)
    (mail,) = sink.mails
    assert sink.recipients == ["ada@example.org"]
    assert mail["Subject"] == "Reminder: Grüße an 🪴 <Ada>"
    assert mail["Message-ID"] == f"<{told.notification_id}@example.org>"
    html = mail.get_body(("html",))
    assert html is not None
    assert "Grüße an 🪴 &lt;Ada&gt;" in html.get_content()


async def test_one_connection_serves_many_mails(sink: Sink, mailer_for: Mailers) -> None:
    mailer = mailer_for(sink.port)
    for _ in range(5):
        await mailer.send(message(), contact(), START)
    assert (len(sink.mails), sink.connections) == (5, 1)
    await asyncio.gather(*(mailer.send(message(), contact(), START) for _ in range(8)))
    assert len(sink.mails) == 13
    assert sink.connections <= 8


@pytest.mark.parametrize(
    ("step", "answer", "error"),
    [
        ("rcpt", "550 no such mailbox", ChannelRefused),
        ("rcpt", "450 try again", ChannelUnavailable),
        ("data", "554 content refused", ChannelRefused),
        ("data", "452 disk full", ChannelUnavailable),
        # Our own address is wrong: that can be mended, and the mail is kept until then.
        ("sender", "550 not from here", ChannelUnavailable),
    ],
)
async def test_what_a_refusal_means(
    sink: Sink, mailer_for: Mailers, step: str, answer: str, error: type[Exception]
) -> None:
    setattr(sink, step, answer)
    mailer = mailer_for(sink.port)
    with pytest.raises(error, match=f"^mail server answered {answer[:3]}$"):
        await mailer.send(message(), contact(), START)
    setattr(sink, step, "250 OK")
    await mailer.send(message(), contact(), START)
    assert len(sink.mails) == 1


async def test_an_address_that_is_none_never_reaches_the_server(sink: Sink, mailer_for: Mailers) -> None:
    with pytest.raises(ChannelRefused):
        await mailer_for(sink.port).send(message(), contact(email="ada@example.org\r\nDATA"), START)
    assert sink.connections == 0


async def test_nobody_listens(sink: Sink, mailer_for: Mailers) -> None:
    mailer = mailer_for(sink.port)
    await mailer.send(message(), contact(), START)
    await sink.stop()
    with pytest.raises(ChannelUnavailable):
        await mailer.send(message(), contact(), START)
    with pytest.raises(OSError, match=r"."):
        await mailer.check()
    await sink.start()
    await mailer.send(message(), contact(), START)
    await mailer.check()
    assert len(sink.mails) == 2


async def test_a_server_that_says_nothing_costs_the_time_limit_once(mailer_for: Mailers) -> None:
    with socket.create_server((HOST, 0)) as deaf:
        mailer = mailer_for(deaf.getsockname()[1], timeout=0.3)
        began = asyncio.get_running_loop().time()
        with pytest.raises(ChannelUnavailable, match="timeout"):
            await mailer.send(message(), contact(), START)
        assert asyncio.get_running_loop().time() - began < 2


async def test_a_server_that_hangs_at_data_is_left_and_its_connection_closed(
    sink: Sink, mailer_for: Mailers
) -> None:
    sink.gate.clear()
    mailer = mailer_for(sink.port, timeout=0.5)
    with pytest.raises(ChannelUnavailable, match="timeout"):
        await mailer.send(message(), contact(), START)
    await _all_closed(sink)
    sink.gate.set()
    await mailer.send(message(), contact(), START)
    assert sink.connections == 2, "what hung is not used again"


async def _all_closed(sink: Sink) -> None:
    async def closed() -> bool:
        return not sink.open

    await eventually(closed, seconds=2)


async def test_a_password_is_not_sent_in_the_clear(sink: Sink, mailer_for: Mailers) -> None:
    """The sink has no STARTTLS, so a login over it must not happen."""
    mailer = mailer_for(sink.port, credentials="ada:secret@")
    with pytest.raises(ChannelUnavailable):
        await mailer.send(message(), contact(), START)
    assert sink.mails == []


async def test_a_cancelled_mail_leaves_no_connection(sink: Sink, mailer_for: Mailers) -> None:
    sink.gate.clear()
    mailer = mailer_for(sink.port)
    sending = asyncio.ensure_future(mailer.send(message(), contact(), START))

    async def held() -> bool:
        return sink.held == 1

    await eventually(held)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await _all_closed(sink)
    sink.gate.set()
    await mailer.send(message(), contact(), START)
    assert sink.connections == 2
