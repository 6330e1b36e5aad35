"""Reads the mails that the sink has kept."""

from __future__ import annotations

import email
import email.policy
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from pathlib import Path

_HEADERS = BytesHeaderParser(policy=email.policy.default)


@dataclass(frozen=True)
class Mail:
    """One mail as it arrived; ``to`` are the addresses of the envelope, ``received`` is in UTC."""

    path: Path
    received: datetime
    sender: str
    to: tuple[str, ...]
    subject: str
    message_id: str
    text: str
    html: str

    def as_dict(self) -> dict[str, object]:
        return {
            "received": self.received.isoformat().replace("+00:00", "Z"),
            "from": self.sender,
            "to": list(self.to),
            "subject": self.subject,
            "message_id": self.message_id,
            "text": self.text,
            "html": self.html,
            "file": str(self.path),
        }


def read(folder: Path, *, to: str | None = None, wait: float = 0.0, at_least: int = 1) -> list[Mail]:
    """The mails in order of arrival, those to one address if ``to`` is given.

    Waits up to ``wait`` seconds until there are ``at_least`` so many; what is there then is returned.
    """
    deadline = time.monotonic() + wait
    known: dict[Path, Mail | None] = {}
    while True:
        for path in sorted(folder.glob("[0-9]*.eml")):
            if path not in known:
                # A sink that has been used for long holds thousands: only what is asked for is read as a whole.
                known[path] = _parse(path) if to is None or _same(to, _recipients(path)) else None
        mails = [mail for mail in known.values() if mail is not None]
        if len(mails) >= at_least or time.monotonic() >= deadline:
            return mails
        time.sleep(0.02)


def _same(address: str, recipients: tuple[str, ...]) -> bool:
    return address.casefold() in (recipient.casefold() for recipient in recipients)


def _recipients(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        return _delivered_to(_HEADERS.parse(file))


def _delivered_to(message: Message) -> tuple[str, ...]:
    return tuple(str(value) for value in message.get_all("Delivered-To", []))


def _parse(path: Path) -> Mail:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    nanoseconds = int(path.name.partition("-")[0])
    return Mail(
        path=path,
        received=datetime.fromtimestamp(nanoseconds / 1e9, UTC),
        sender=str(message.get("From", "")),
        to=_delivered_to(message),
        subject=str(message.get("Subject", "")),
        message_id=str(message.get("Message-ID", "")).strip(),
        text=_body(message, "plain"),
        html=_body(message, "html"),
    )


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body(preferencelist=(kind,))
    # As a terminal and a copied address want it.
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""
