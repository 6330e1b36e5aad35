"""Where the backing services of a test run come from, and who stops them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from service_kit.testing import containers
from service_kit.testing.containers import IMAGES, Containers, docker_is_possible, missing_images
from service_kit.testing.infrastructure import choose_infrastructure
from service_kit.testing.native_stack import NativeStack


def choose(environment: dict[str, str], missing: list[str] | None, *, possible: bool = True) -> Any:
    return choose_infrastructure(environment, lambda: missing, lambda _: possible)


def test_containers_when_docker_has_all_images() -> None:
    assert isinstance(choose({}, []), Containers)


@pytest.mark.parametrize(
    ("missing", "possible", "words"),
    [
        (["redis:7"], True, "native stack, instance 'test' (Docker has no redis:7)"),
        (None, True, "native stack, instance 'test' (Docker does not answer)"),
        (None, False, "native stack, instance 'test'"),
    ],
)
def test_the_native_stack_otherwise(missing: list[str] | None, possible: bool, words: str) -> None:
    chosen = choose({}, missing, possible=possible)
    assert isinstance(chosen, NativeStack)
    assert chosen.description == words


def test_it_can_be_said_by_hand() -> None:
    assert isinstance(choose({"TASKSTREAM_TEST_INFRASTRUCTURE": "containers"}, None), Containers)
    by_hand = {"TASKSTREAM_TEST_INFRASTRUCTURE": "stack", "TASKSTREAM_TEST_INSTANCE": "mine"}
    assert choose(by_hand, []).description == "native stack, instance 'mine'"
    with pytest.raises(pytest.UsageError, match="set it to containers or stack"):
        choose({"TASKSTREAM_TEST_INFRASTRUCTURE": "cloud"}, [])


def test_docker_is_not_even_loaded_without_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_SOCKET", tmp_path / "docker.sock")
    assert not docker_is_possible({})
    assert docker_is_possible({"DOCKER_HOST": "tcp://docker:2375"})
    (tmp_path / "docker.sock").touch()
    assert docker_is_possible({})


class Docker:
    def __init__(self, *images: str) -> None:
        self._known = images
        self.images = self
        self.closed = False

    def get(self, image: str) -> None:
        from docker.errors import ImageNotFound  # type: ignore[import-untyped, unused-ignore]

        if image not in self._known:
            raise ImageNotFound(image)

    def close(self) -> None:
        self.closed = True


def test_images_are_looked_for_and_not_pulled() -> None:
    docker = Docker(*IMAGES[:1])
    assert missing_images(lambda: docker) == list(IMAGES[1:])
    assert missing_images(lambda: Docker(*IMAGES)) == []
    assert docker.closed


def test_a_docker_that_does_not_answer_is_none() -> None:
    def refuse() -> Any:
        raise ConnectionRefusedError

    assert missing_images(refuse) is None


class FakeInstance:
    """An instance of a stack that only notes whether it runs."""

    running: ClassVar[set[str]] = set()
    log: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        self.redis_url = f"redis://{name}/0"

    def is_running(self, process: str) -> bool:
        return process in self.running

    def up(self, *, services: list[str]) -> None:
        assert services == []
        self.log.append("up")
        self.running.update({"postgres", "redis", "kafka", "smtp"})

    def down(self) -> None:
        self.log.append("down")
        self.running.clear()


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[FakeInstance]:
    monkeypatch.setenv("TASKSTREAM_STATE", str(tmp_path))
    replacement = ModuleType("stack")
    replacement.Instance = FakeInstance  # type: ignore[attr-defined]
    # What the kit takes from the real one besides must be loaded before it is hidden.
    for real in ("stack.filelock", "stack.layout"):
        importlib.import_module(real)
    monkeypatch.setitem(sys.modules, "stack", replacement)
    FakeInstance.running.clear()
    FakeInstance.log.clear()
    return FakeInstance


def test_nothing_is_started_before_it_is_asked_for(stack: type[FakeInstance]) -> None:
    NativeStack("mine").close()
    assert stack.log == []


def test_what_a_run_started_is_stopped_by_the_last_that_uses_it(stack: type[FakeInstance]) -> None:
    first, second = NativeStack("mine"), NativeStack("mine")
    assert first.redis_url == second.redis_url == "redis://mine/0"
    first.close()
    assert stack.log == ["up"]
    second.close()
    assert stack.log == ["up", "down"]
    second.close()
    assert stack.log == ["up", "down"]


def test_what_somebody_else_started_is_left_up(stack: type[FakeInstance]) -> None:
    stack.running |= {"postgres", "redis", "kafka", "smtp", "reminders"}
    used = NativeStack("mine")
    assert used.redis_url
    used.close()
    assert stack.log == []


def test_what_a_killed_run_left_up_is_stopped_by_the_next(stack: type[FakeInstance]) -> None:
    killed = NativeStack("mine")
    assert killed.redis_url
    assert killed._use is not None
    killed._use.close()
    following = NativeStack("mine")
    assert following.redis_url
    following.close()
    assert stack.log == ["up", "down"]


@pytest.mark.parametrize("service", ["postgres_url", "redis_url", "kafka_bootstrap"])
def test_containers_need_nothing_but_docker(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    """Their library has moved its modules before; this notices without a Docker."""
    from docker.errors import DockerException  # type: ignore[import-untyped, unused-ignore]

    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    running = Containers()
    with pytest.raises(DockerException):
        getattr(running, service)
    running.close()
