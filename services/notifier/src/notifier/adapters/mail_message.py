"""A reminder as a mail: text and HTML from templates, and headers that nothing in a task can break out of."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from notifier.application.errors import ChannelRefused
from notifier.domain.contact import Contact
from notifier.domain.wording import Message

_SUBJECT_LIMIT = 150
_MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")


class MailComposer:
    """Makes the mail of a reminder. The same notification always has the same Message-ID."""

    def __init__(self, sender: Address, public_url: str) -> None:
        self._sender = sender
        self._public_url = public_url.rstrip("/")
        environment = Environment(
            loader=PackageLoader("notifier.adapters"),
            autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
            undefined=StrictUndefined,
        )
        self._text = environment.get_template("reminder.txt.j2")
        self._html = environment.get_template("reminder.html.j2")

    def compose(self, message: Message, contact: Contact, at: datetime) -> EmailMessage:
        """Give the mail, dated `at`. Raises ChannelRefused for an address that is none."""
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._sender
        mail["To"] = mailbox(contact.email)
        mail["Subject"] = one_line(f"Reminder: {message.title}")
        mail["Date"] = format_datetime(at)
        mail["Message-ID"] = f"<{message.notification_id}@{self._sender.domain}>"
        # RFC 3834, section 5: holiday notices do not answer to this.
        mail["Auto-Submitted"] = "auto-generated"
        values = {
            "message": message,
            "contact": contact,
            "task_url": f"{self._public_url}/api/v1/tasks/{message.task_id}",
        }
        mail.set_content(self._text.render(values))
        mail.add_alternative(self._html.render(values), subtype="html")
        return mail


def mailbox(text: str) -> Address:
    """Read a person's address: one plain mailbox, fit for a header and for RCPT TO (RFC 5321, section 4.1.2).

    Raises ChannelRefused. Quoted local parts and addresses beyond ASCII are refused: they need SMTPUTF8 on the way.
    """
    if not _MAILBOX.fullmatch(text):
        raise ChannelRefused("the address is not one that mail can be sent to")
    local, _, domain = text.rpartition("@")
    try:
        return Address(username=local, domain=domain)
    except ValueError as error:
        raise ChannelRefused("the address is not one that mail can be sent to") from error


def one_line(text: str) -> str:
    """Make a header's text of any text: control characters and line ends become spaces (RFC 5322, section 2.2)."""
    plain = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") else char for char in text)
    squeezed = " ".join(plain.split())
    return squeezed if len(squeezed) <= _SUBJECT_LIMIT else squeezed[: _SUBJECT_LIMIT - 1].rstrip() + "…"
