"""The rooms keep their names and their doors: one word for a service everywhere, and rules that lint cannot see."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from event_contracts.topics import (
    HANDLED_LETTERS_TOPIC,
    SERVICES,
    TOPICS,
    consumed_by,
    dead_letter_topic,
    produced_by,
)

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "task-api": ROOT / "services/task-api/src/task_api",
    "reminders": ROOT / "services/reminders/src/reminders",
    "recurrence": ROOT / "services/recurrence/src/recurrence",
    "notifier": ROOT / "services/notifier/src/notifier",
    "service-kit": ROOT / "packages/service-kit/src/service_kit",
    "event-contracts": ROOT / "packages/event-contracts/src/event_contracts",
    "taskstream-cli": ROOT / "cli/src/taskstream_cli",
    "stack": ROOT / "stack/src/stack",
}
NO_NAMES = {"utils", "helpers", "common", "base", "manager", "misc"}


def _modules() -> Iterator[Path]:
    for package in PACKAGES.values():
        yield from package.rglob("*.py")


def test_directory_distribution_and_import_are_one_word() -> None:
    for name, package in PACKAGES.items():
        member = next(parent for parent in package.parents if (parent / "pyproject.toml").exists())
        project = tomllib.loads((member / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert project["name"] == name
        assert package.name == name.replace("-", "_")
    assert {path.name for path in (ROOT / "services").iterdir() if path.is_dir()} == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_same_rooms_inside(service: str) -> None:
    package = PACKAGES[service]
    for room in ("application", "domain", "adapters", "entrypoints"):
        assert (package / room).is_dir() or (package / f"{room}.py").exists(), room
    for module in ("app.py", "settings.py", "__main__.py"):
        assert (package / module).exists(), module


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [path for path in _modules() if path.stem in NO_NAMES or path.parent.name in NO_NAMES] == []


def test_only_settings_read_the_environment() -> None:
    readers = [
        path.relative_to(ROOT)
        for name in (*SERVICES, "service-kit")
        for path in PACKAGES[name].rglob("*.py")
        if re.search(r"\bos\.environ|\bos\.getenv|\bgetenv\(", path.read_text(encoding="utf-8"))
        and "testing" not in path.parts
    ]
    assert readers == []


@pytest.mark.parametrize("service", SERVICES)
def test_envelopes_stay_at_the_edge(service: str) -> None:
    """Application and domain receive payloads; only entrypoints and adapters know the envelope and the topics."""
    inside = [
        path.relative_to(ROOT)
        for room in ("application", "domain")
        for path in (PACKAGES[service] / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and node.module in ("event_contracts.envelope", "event_contracts.topics")
        and any(alias.name in ("CloudEvent", "TOPICS") for alias in node.names)
    ]
    assert inside == []


def test_no_wall_clock_in_rules() -> None:
    """Time is passed in: a rule that reads the clock cannot be replayed."""
    readers = [
        path.relative_to(ROOT)
        for service in SERVICES
        for room in ("application", "domain")
        for path in (PACKAGES[service] / room).rglob("*.py")
        if re.search(
            r"datetime\.now\(|datetime\.utcnow\(|date\.today\(|\btime\.time\(",
            path.read_text(encoding="utf-8"),
        )
    ]
    assert readers == []


def _component(name: str) -> dict[str, object]:
    loaded = yaml.safe_load((ROOT / f"components/{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def _scopes(value: str) -> dict[str, set[str]]:
    """Read daprd's `app=topic,topic;app=…` text."""
    return {
        app.strip(): {topic.strip() for topic in topics.split(",") if topic.strip()}
        for app, _, topics in (entry.partition("=") for entry in value.split(";") if entry.strip())
    }


def test_components_are_one_resource_a_file_named_after_it() -> None:
    files = sorted((ROOT / "components").iterdir())
    assert all(path.suffix == ".yaml" for path in files), (
        "daprd reads this folder: nothing else belongs in it"
    )
    for path in files:
        if path.name == "kustomization.yaml":
            continue  # kustomize asks for it; daprd passes over what is no resource of its own
        (resource,) = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        assert resource["metadata"]["name"] == path.stem
        assert set(resource.get("scopes", SERVICES)) <= set(SERVICES)


def test_component_scopes_are_the_registrys() -> None:
    pubsub = _component("pubsub")
    spec = pubsub["spec"]
    assert isinstance(spec, dict)
    metadata = {item["name"]: item.get("value") for item in spec["metadata"]}
    publishing = _scopes(metadata["publishingScopes"])
    subscribing = _scopes(metadata["subscriptionScopes"])
    for service in SERVICES:
        produced = {topic.name for topic in produced_by(service)} | {dead_letter_topic(service)}
        assert publishing[service] == produced
        assert subscribing[service] == {topic.name for topic in consumed_by(service)}
    protected = {topic.strip() for topic in metadata["protectedTopics"].split(",")}
    letters = {dead_letter_topic(service) for service in SERVICES} | {HANDLED_LETTERS_TOPIC}
    assert protected == set(TOPICS) | letters


def test_no_registry_host_in_lock_files() -> None:
    for lock in ROOT.glob("**/requirements*.lock"):
        if ".venv" in lock.parts:
            continue
        assert "://" not in lock.read_text(encoding="utf-8"), lock
