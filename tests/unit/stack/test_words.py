"""What people type: names, replicas, settings; and where things are kept."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stack import Instance, layout
from stack.errors import StackError
from stack.privatefile import write_private
from stack.services import TASKSTREAM, checked_replicas, parse_replicas, process_name
from stack.welcome import welcome


def test_replicas_are_read_in_one_word_or_several() -> None:
    assert parse_replicas(["reminders=2,notifier=3", "task-api=1"]) == {
        "reminders": 2,
        "notifier": 3,
        "task-api": 1,
    }
    assert parse_replicas([]) == {}


@pytest.mark.parametrize("word", ["reminders", "reminders=", "reminders=two", "reminders=-1"])
def test_what_is_no_number_of_replicas_is_named(word: str) -> None:
    with pytest.raises(StackError, match="does not say how many replicas"):
        parse_replicas([word])


def test_replicas_of_nothing_or_out_of_bounds_are_refused() -> None:
    with pytest.raises(StackError, match="no service 'mailer'; there are task-api, reminders"):
        checked_replicas(TASKSTREAM, {"mailer": 1})
    with pytest.raises(StackError, match="1 to 4 replicas, not 9"):
        checked_replicas(TASKSTREAM, {"reminders": 9})


def test_the_first_replica_has_the_plain_name() -> None:
    assert [process_name("reminders", replica) for replica in (1, 2)] == ["reminders", "reminders-2"]


@pytest.mark.parametrize("name", ["", "Dev", "a b", "../x", "1st", "x" * 33])
def test_a_name_must_be_fit_for_a_folder(name: str) -> None:
    with pytest.raises(StackError, match="no instance name"):
        Instance(name)


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKSTREAM_CACHE", str(tmp_path / "c"))
    monkeypatch.setenv("TASKSTREAM_STATE", str(tmp_path / "s"))
    assert layout.cache_root() == tmp_path / "c"
    assert layout.state_root() == tmp_path / "s"
    monkeypatch.delenv("TASKSTREAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert layout.cache_root() == tmp_path / "taskstream"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert layout.cache_root() == tmp_path / ".cache" / "taskstream"
    monkeypatch.delenv("TASKSTREAM_STATE")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert layout.state_root() == Path("/var/lib/taskstream")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert layout.state_root() == tmp_path / ".local" / "state" / "taskstream"


def test_a_private_file_is_private_and_left_alone_when_it_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "secret"
    write_private(path, "a")
    assert path.stat().st_mode & 0o777 == 0o600
    inode = path.stat().st_ino
    write_private(path, "a")
    assert path.stat().st_ino == inode
    write_private(path, "b")
    assert path.read_text() == "b"
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_creating_an_instance_touches_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKSTREAM_STATE", str(tmp_path / "s"))
    instance = Instance("words")
    assert instance.status() == []
    assert not instance.is_running("kafka")
    assert instance.mail() == []
    instance.down(wipe=True)
    assert not (tmp_path / "s").exists()


def test_an_instance_keeps_its_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKSTREAM_STATE", str(tmp_path))
    first, again, other = Instance("words"), Instance("words"), Instance("others")
    assert first.identity == again.identity
    assert first.app_api_token != other.app_api_token
    assert first.identity.jwt_private_key.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert first.env("reminders")["APP_PORT"] == first.address("reminders").rpartition(":")[2]
    assert first.env("reminders", 2)["DAPR_HTTP_PORT"] == first.address("reminders-2.dapr").rpartition(":")[2]
    assert first.env()["TASK_API_URL"] == first.app_url("task-api")
    with pytest.raises(StackError, match="no process 'mailer'"):
        first.address("mailer")


def test_the_session_of_the_first_output_is_sound_shell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TASKSTREAM_STATE", str(tmp_path))
    instance = Instance("words")
    instance.identity  # noqa: B018 - makes the folder
    write_private(
        instance.home / "options.json",
        '{"services": ["task-api", "reminders"], "replicas": {}, "test_clock": false, "env": {}, "kafka_heap": "384m"}',
    )
    text = welcome(instance)
    assert f"{instance.app_url('task-api')}/docs" in text
    assert "stack down --instance words" in text
    session = "\n".join(re.findall(r"^  .*$", text[text.index("Try it") :], re.MULTILINE))
    bash = shutil.which("bash")
    assert bash
    subprocess.run([bash, "-n"], input=session, text=True, check=True)
