"""Mails are read back as they were taken, in order, by the envelope's recipients."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from stack import mail
from stack.smtp_sink import FileSink


def deliver(folder: Path, subject: str, *recipients: str) -> None:
    message = EmailMessage()
    message["From"] = "Taskstream <reminders@taskstream.example>"
    message["To"] = "a list"
    message["Subject"] = subject
    message["Message-ID"] = f"<{len(subject)}@taskstream.example>"
    message.set_content("Gießen nicht vergessen.")
    message.add_alternative("<p>Gießen</p>", subtype="html")
    envelope = Envelope()
    envelope.mail_from = "reminders@taskstream.example"
    envelope.rcpt_tos = list(recipients)
    envelope.content = message.as_bytes(policy=SMTP_POLICY)

    async def take() -> str:
        sink = FileSink(folder)
        server = SMTP(sink)
        return await sink.handle_DATA(server, Session(server.loop), envelope)

    assert asyncio.run(take()) == "250 OK"


def test_mails_come_back_in_order_and_whole(tmp_path: Path) -> None:
    deliver(tmp_path, "first", "ada@taskstream.example")
    deliver(tmp_path, "second — später", "bob@taskstream.example", "Ada@taskstream.example")
    (tmp_path / ".00001-000000.eml.part").write_text("half a mail")
    both = mail.read(tmp_path)
    assert [each.subject for each in both] == ["first", "second — später"]
    assert both[0].received < both[1].received
    assert both[0].text == "Gießen nicht vergessen.\n"
    assert both[0].html == "<p>Gießen</p>\n"
    assert [each.subject for each in mail.read(tmp_path, to="bob@taskstream.example")] == ["second — später"]
    assert len(mail.read(tmp_path, to="ada@taskstream.example")) == 2
    assert both[1].as_dict()["to"] == ["bob@taskstream.example", "Ada@taskstream.example"]


def test_waiting_for_a_mail_ends_with_the_time_out(tmp_path: Path) -> None:
    assert mail.read(tmp_path, wait=0.05) == []
