"""A mail says what the task says, and nothing in a task can break out of its place."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from gettext import NullTranslations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.notifier.samples import START, USER, contact, message, notification, occurrence, snapshot

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel
from notifier.adapters.languages import Languages
from notifier.adapters.mail_message import MailComposer, mailbox, one_line
from notifier.adapters.signed_links import SignedLinks
from notifier.application.errors import ChannelRefused
from notifier.domain.links import LinkAction
from notifier.domain.notifications import Delivery, Notification, Progress
from notifier.domain.occurrences import occurrence_in
from notifier.domain.wording import digest_message, message_of

SENDER = Address("Taskstream", addr_spec="reminders@example.org")
LINKS = SignedLinks(("s" * 32,), "https://tasks.example.org/")
COMPOSER = MailComposer(SENDER, Languages(), LINKS)


def read_back(**fields: Any) -> EmailMessage:
    """Compose, write as SMTP would, and read like a mail program."""
    told = message(**fields)
    written = COMPOSER.compose(told, contact(), START).as_bytes()
    mail = message_from_bytes(written, policy=SMTP)
    assert isinstance(mail, EmailMessage)
    return mail


def part(mail: EmailMessage, subtype: str) -> str:
    body = mail.get_body((subtype,))
    assert body is not None
    content: str = body.get_content()
    return content.replace("\r\n", "\n")


def test_the_headers() -> None:
    told = message()
    mail = COMPOSER.compose(told, contact(), START)
    assert mail["From"] == "Taskstream <reminders@example.org>"
    assert mail["To"] == "ada@example.org"
    assert mail["Subject"] == "Reminder: Water the plants"
    assert mail["Date"].datetime == START
    assert mail["Message-ID"] == f"<{told.notification_id}@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    again = COMPOSER.compose(told, contact(), START)
    assert again["Message-ID"] == mail["Message-ID"], "a copy can be recognised"


def test_mail_can_be_ended_by_one_click() -> None:
    """RFC 8058; the address stands there as it is, however long: encoded words in it would be no address."""
    written = COMPOSER.compose(message(), contact(), START).as_bytes()
    (line,) = [one for one in written.split(b"\r\n") if one.startswith(b"List-Unsubscribe:")]
    assert line.startswith(b"List-Unsubscribe: <https://tasks.example.org/api/v1/actions/")
    token = line.decode().rpartition("/")[2].removesuffix(">")
    link = LINKS.read(token)
    assert (link.action, link.user_id) == (LinkAction.STOP_MAIL, USER)
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in written
    assert max(map(len, written.split(b"\r\n"))) <= 998


def test_each_link_does_what_it_says() -> None:
    told = message()
    text = part(COMPOSER.compose(told, contact(), START), "plain")
    found = dict(line.split(": ") for line in text.splitlines() if "/api/v1/actions/" in line)
    links = {label: LINKS.read(url.rpartition("/")[2]) for label, url in found.items()}
    assert [(label, link.action, link.minutes) for label, link in links.items()] == [
        ("Done", LinkAction.COMPLETE, 0),
        ("In an hour", LinkAction.SNOOZE, 60),
        ("In a day", LinkAction.SNOOZE, 24 * 60),
        ("No more mail", LinkAction.STOP_MAIL, 0),
    ]
    assert {link.task_id for link in links.values()} == {told.task_id, None}
    assert {link.reminder_id for link in links.values()} == {told.reminder_id, None}


def test_a_new_occurrence_cannot_be_snoozed() -> None:
    """A snooze puts off a reminder, and it is the word on none."""
    task = occurrence()
    told = message_of(_of(task), task, NullTranslations(), None)
    text = part(COMPOSER.compose(told, contact(), START), "plain")
    labels = [line.split(": ")[0] for line in text.splitlines() if "/api/v1/actions/" in line]
    assert labels == ["Done", "No more mail"]


def _of(task: TaskSnapshot) -> Notification:
    made = occurrence_in(task)
    assert made is not None
    return made


def test_a_digest_has_the_links_of_each_reminder() -> None:
    task = snapshot()
    parts = tuple(message(title=title, description=title.upper()) for title in ("ferns", "moss <b>"))
    held = Delivery(notification(task), Channel.EMAIL, Progress(held_until=START))
    told = digest_message(held, parts, NullTranslations())
    mail = message_from_bytes(COMPOSER.compose(told, contact(), START).as_bytes(), policy=SMTP)
    assert isinstance(mail, EmailMessage)
    assert mail["Subject"] == "2 reminders"
    assert mail["Message-ID"] == f"<{told.notification_id}@example.org>"
    assert told.notification_id not in {
        held.notification.notification_id,
        *(one.notification_id for one in parts),
    }
    text, html = part(mail, "plain"), part(mail, "html")
    for page in (text, html):
        assert page.count("/api/v1/actions/") == 2 * 3 + 1
        assert "FERNS" in page
    assert "\n\n\n" not in text
    assert "moss &lt;b&gt;" in html
    of_tasks = [LINKS.read(url).task_id for url in re.findall(r"^Done: .*/(\S+)$", text, re.MULTILINE)]
    assert of_tasks == [one.task_id for one in parts]


def test_without_a_secret_there_are_no_links() -> None:
    mail = MailComposer(SENDER, Languages(), None).compose(message(), contact(), START)
    assert "List-Unsubscribe" not in mail
    assert "List-Unsubscribe-Post" not in mail
    for subtype in ("plain", "html"):
        assert "http" not in part(mail, subtype)
        assert "No more" not in part(mail, subtype)


def test_words_from_right_to_left_and_pictures_stay_as_they_are() -> None:
    title = "להשקות את הצמחים 👩‍👩‍👧‍👦🪴"
    mail = read_back(title=title, description="אדנית ראשונה")
    assert mail["Subject"] == f"Reminder: {title}"
    assert title in part(mail, "plain")
    html = part(mail, "html")
    assert f'dir="auto">{title}</h1>' in html
    assert 'dir="auto">אדנית ראשונה</p>' in html


def test_text_and_html_say_the_same() -> None:
    mail = read_back(description="First the ferns.\nThen the rest.")
    assert mail.get_content_type() == "multipart/alternative"
    for subtype in ("plain", "html"):
        text = part(mail, subtype)
        assert "Hello Ada," in text
        assert "Water the plants" in text
        assert "Due on Monday, 5 January 2026 at 11:00 (Europe/Berlin)." in text
        assert "First the ferns.\nThen the rest." in text
        assert text.count("https://tasks.example.org/api/v1/actions/") == 4


def test_the_text_has_no_heap_of_blank_lines() -> None:
    for fields in ({}, {"description": "More."}):
        assert "\n\n\n" not in part(read_back(**fields), "plain")


def test_a_person_without_a_name_is_greeted_too() -> None:
    mail = COMPOSER.compose(message(), contact(first_name=None), START)
    text = mail.get_body(("plain",))
    assert text is not None
    assert text.get_content().startswith("Hello,")


def test_markup_in_a_task_is_text() -> None:
    evil = '<script>alert("x")</script> & <a href="https://evil.example">click</a> {{ 7 * 7 }} {% raw %}'
    mail = read_back(title=evil, description=evil)
    html = part(mail, "html")
    assert "<script" not in html
    assert "evil.example&#34;&gt;" in html
    assert html.count("<a ") == 4
    assert "{{ 7 * 7 }}" in html
    assert evil in part(mail, "plain")
    assert evil in mail["Subject"]


@pytest.mark.parametrize(
    "title", ["Buy milk\r\nBcc: everyone@example.org", "Buy milk\nX-Evil: 1", "a\x00b\x0bc\x85d\u2028e\x7f"]
)
def test_a_title_cannot_add_headers(title: str) -> None:
    mail = read_back(title=title)
    assert sorted(set(mail.keys())) == [
        "Auto-Submitted",
        "Content-Type",
        "Date",
        "From",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ]
    assert len(mail["Subject"].splitlines()) == 1
    assert mail["To"] == "ada@example.org"


@given(st.text(min_size=1, max_size=255))
def test_any_title_makes_a_mail_that_reads_back(title: str) -> None:
    subject = one_line(f"Reminder: {title}")
    assert len(subject) <= 150
    assert len(subject.splitlines()) == 1
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = subject
    mail.set_content("x")
    back = message_from_bytes(mail.as_bytes(), policy=SMTP)
    assert set(back.keys()) == set(mail.keys())


def test_a_long_title_is_cut_in_the_subject_alone() -> None:
    title = "very " * 51
    subject = COMPOSER.compose(message(title=title), contact(), START)["Subject"]
    assert len(subject) <= 150
    assert subject.endswith("very…")
    assert title in part(read_back(title=title), "plain")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@example.org\r\nBcc: x@example.org",
        "ada@example.org, bob@example.org",
        "ada@example.org> SIZE=1",
        "Ada <ada@example.org>",
        "ada lovelace@example.org",
        '"ada"@example.org',
        "ada@exämple.org",
        "ädä@example.org",
        "ada@example.org\n",
        "a@b@example.org",
    ],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ChannelRefused) as refused:
        COMPOSER.compose(message(), contact(email=address), START)
    assert address not in str(refused.value) or not address, "the reason goes to the task's activity"


@pytest.mark.parametrize("address", ["ada@example.org", "ada+tasks.x_y-z@mail.example.co.uk", "a@b"])
def test_an_address_is_taken_as_it_is(address: str) -> None:
    assert mailbox(address).addr_spec == address
