"""What programs say of their version, and what is said when one is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack import toolchain
from stack.toolchain import Tool, parse_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", (15, 18)),
        ("postgres (PostgreSQL) 18beta1", (18,)),
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', (17, 0, 15)),
        ('java version "1.8.0_392"', (8, 0)),
        ('openjdk version "21" 2023-09-19', (21,)),
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=bf", (7, 0, 15)),
        ("command not found", None),
    ],
)
def test_versions_are_read(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("version", "at_least", "suits"),
    [
        ((15, 18), (15,), True),
        ((14, 9), (15,), False),
        ((1, 26, 5), (1, 26, 6), False),
        ((1, 27), (1, 26, 6), True),
    ],
)
def test_versions_compare_by_number(version: tuple[int, ...], at_least: tuple[int, ...], suits: bool) -> None:
    assert Tool(Path("/bin/x"), version).suits(at_least) is suits


def test_the_message_names_what_is_missing_and_the_command_of_each_system() -> None:
    text = str(toolchain.how_to_install(["java", "redis"]))
    first, debian, fedora, macos = text.splitlines()
    assert first == "Taskstream needs a Java runtime, 17 or newer and Redis 7 or newer, not found here."
    assert debian.endswith("sudo apt-get update && sudo apt-get install default-jre-headless redis-server")
    assert fedora.endswith("sudo dnf install java-21-openjdk-headless redis")
    assert macos.endswith("brew install openjdk redis")


def test_a_program_that_is_absent_or_broken_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert toolchain.redis() is None
    assert toolchain.maven() is None
    assert toolchain.may_install() is None
