"""A message as a mail: text and HTML from templates, and headers that nothing in a task can break out of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime

from notifier.adapters.languages import Languages
from notifier.adapters.signed_links import SignedLinks
from notifier.application.errors import ChannelRefused
from notifier.domain.contact import Contact
from notifier.domain.links import DAY_MINUTES, GOOD_FOR, HOUR_MINUTES, STOP_GOOD_FOR, Link, LinkAction
from notifier.domain.wording import Message, Words

_SUBJECT_LIMIT = 150
_MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")


@dataclass(frozen=True, slots=True)
class _Item:
    message: Message
    links: tuple[tuple[str, str], ...]


class _AddressHeader(UnstructuredHeader, BaseHeader):
    """A header that holds an address of the web. Folding would write a long one as encoded words, which is no address
    to those who read it (RFC 2369, section 2)."""

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _AddressHeader)
_POLICY = SMTP.clone(header_factory=_HEADERS)


class MailComposer:
    """Makes mails. The same notification always has the same Message-ID. Without `links` a mail has none."""

    def __init__(self, sender: Address, languages: Languages, links: SignedLinks | None) -> None:
        self._sender = sender
        self._languages = languages
        self._links = links

    def compose(self, message: Message, contact: Contact, at: datetime) -> EmailMessage:
        """Give the mail, dated `at`. Raises ChannelRefused for an address that is none."""
        mail = EmailMessage(policy=_POLICY)
        mail["From"] = self._sender
        mail["To"] = mailbox(contact.email)
        mail["Subject"] = one_line(message.subject)
        mail["Date"] = format_datetime(at)
        mail["Message-ID"] = f"<{message.notification_id}@{self._sender.domain}>"
        # RFC 3834, section 5: holiday notices do not answer to this.
        mail["Auto-Submitted"] = "auto-generated"
        stop = None
        if self._links is not None:
            stop = self._links.url(Link(LinkAction.STOP_MAIL, contact.user_id, at + STOP_GOOD_FOR))
            # RFC 8058: the mail program itself posts there when its own button is pressed.
            mail["List-Unsubscribe"] = f"<{stop}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        words = self._languages.words(contact.locale)
        values = {
            "headline": message.title if message.parts else None,
            "items": [_Item(one, tuple(self._offers(one, at, words))) for one in message.parts or (message,)],
            "first_name": contact.first_name,
            "stop": stop,
        }
        mail.set_content(self._languages.render("message.txt.j2", contact.locale, **values))
        html = self._languages.render("message.html.j2", contact.locale, **values)
        mail.add_alternative(html, subtype="html")
        return mail

    def _offers(self, message: Message, at: datetime, words: Words) -> Iterator[tuple[str, str]]:
        """Give what can be done about it, each as a label and an address."""
        if self._links is None or message.task_id is None:
            return
        person, task, end = message.user_id, message.task_id, at + GOOD_FOR
        yield words.gettext("Done"), self._links.url(Link(LinkAction.COMPLETE, person, end, task))
        if message.reminder_id is None:
            return
        delays = ((words.gettext("In an hour"), HOUR_MINUTES), (words.gettext("In a day"), DAY_MINUTES))
        for label, minutes in delays:
            snooze = Link(LinkAction.SNOOZE, person, end, task, message.reminder_id, minutes)
            yield label, self._links.url(snooze)


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
