"""People are written to in their language where there is a catalogue of it, and in English else."""

from __future__ import annotations

import struct
from datetime import timedelta
from email.headerregistry import Address
from gettext import NullTranslations
from pathlib import Path

import pytest
from tests.unit.notifier.samples import START, contact, notification, snapshot

from notifier.adapters.languages import Languages
from notifier.adapters.mail_message import MailComposer
from notifier.domain.wording import reminder_message

GERMAN = {
    "": "Content-Type: text/plain; charset=UTF-8\nLanguage: de\n",
    "Hello %(first_name)s,": "Hallo %(first_name)s,",
    "Reminder: %(title)s": "Erinnerung: %(title)s",
    "Due on %(day)s at %(time)s (%(zone)s).": "Fällig am %(day)s um %(time)s Uhr (%(zone)s).",
    "%(weekday)s, %(day)d %(month)s %(year)d": "%(weekday)s, dem %(day)d. %(month)s %(year)d",
    "This reminder comes %(duration)s late.": "Diese Erinnerung kommt %(duration)s zu spät.",
    "%(number)d h": "%(number)d Std.",
    "Monday": "Montag",
    "January": "Januar",
}


@pytest.fixture
def languages(tmp_path: Path) -> Languages:
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "notifier.mo").write_bytes(compiled(GERMAN))
    return Languages(tmp_path)


def compiled(words: dict[str, str]) -> bytes:
    """As msgfmt does it: a header, a table of the originals, one of the translations, then the texts."""
    pairs = sorted((original.encode(), said.encode()) for original, said in words.items())
    head, place = 28, 28 + 16 * len(pairs)
    tables: list[bytes] = []
    texts = b""
    for column in (0, 1):
        for pair in pairs:
            tables.append(struct.pack("<II", len(pair[column]), place + len(texts)))
            texts += pair[column] + b"\0"
    numbers = struct.pack("<7I", 0x950412DE, 0, len(pairs), head, head + 8 * len(pairs), 0, 0)
    return numbers + b"".join(tables) + texts


@pytest.mark.parametrize("locale", ["de", "de-AT", "de_CH"])
def test_a_mail_in_german(languages: Languages, locale: str) -> None:
    task = snapshot()
    message = reminder_message(notification(task), task, languages.words(locale), timedelta(hours=2))
    composer = MailComposer(Address("Taskstream", addr_spec="reminders@example.org"), languages, None)
    mail = composer.compose(message, contact(locale=locale), START)
    assert mail["Subject"] == "Erinnerung: Water the plants"
    bodies = [mail.get_body((subtype,)) for subtype in ("plain", "html")]
    plain, html = [body.get_content() for body in bodies if body is not None]
    for text in (plain, html):
        assert "Hallo Ada," in text
        assert "Fällig am Montag, dem 5. Januar 2026 um 11:00 Uhr (Europe/Berlin)." in text
        assert "Diese Erinnerung kommt 2 Std. zu spät." in text
        assert "switched on" in text, "what is not translated is said in English"
    assert '<html lang="de">' in html


@pytest.mark.parametrize("locale", ["fr", "en", "", "../../de", "de/../de", "x" * 300])
def test_english_else(languages: Languages, locale: str) -> None:
    assert type(languages.words(locale)) is NullTranslations
    assert '<html lang="en">' in languages.render("link.html.j2", locale, sentence="?", button=None)
