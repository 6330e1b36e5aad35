"""The rendered files are what a sidecar expects of a cluster's secrets and configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from stack import resources
from stack.identity import Identity
from stack.layout import checkout
from stack.ports import Ports
from stack.services import TASKSTREAM, Facts

FACTS = Facts(Ports.of("t1"), Identity("pg", "rd", "dapr", "app", "pem", "key", "link", "vapid", "cluster"))


def test_the_secret_store_points_to_the_secrets_of_the_instance(tmp_path: Path) -> None:
    written = resources.write(tmp_path, FACTS, otlp_endpoint=None)
    store = yaml.safe_load((written.folder / "secretstore.yaml").read_text())
    assert store["metadata"]["name"] == "secretstore"
    metadata = {item["name"]: item["value"] for item in store["spec"]["metadata"]}
    assert metadata["multiValued"] == "true"
    assert json.loads(Path(metadata["secretsFile"]).read_text()) == resources.secrets(FACTS)
    assert Path(metadata["secretsFile"]).stat().st_mode & 0o077 == 0


def test_every_secret_that_the_components_ask_for_is_there() -> None:
    secrets = resources.secrets(FACTS)
    asked = 0
    for path in sorted((checkout() / "components").glob("*.yaml")):
        for item in yaml.safe_load(path.read_text()).get("spec", {}).get("metadata", []):
            if reference := item.get("secretKeyRef"):
                assert secrets[reference["name"]][reference["key"]]
                asked += 1
    assert asked == 3


def test_names_are_resolved_within_the_instance(tmp_path: Path) -> None:
    spec = yaml.safe_load(resources.configuration(tmp_path / "names.db", None))["spec"]
    assert spec["nameResolution"]["component"] == "sqlite"
    assert spec["nameResolution"]["configuration"]["connectionString"] == str(tmp_path / "names.db")
    assert spec["tracing"] == {"samplingRate": "0"}


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (
            "http://127.0.0.1:40001",
            {"endpointAddress": "127.0.0.1:40001", "isSecure": False, "protocol": "http"},
        ),
        (
            "https://collector:4318/",
            {"endpointAddress": "collector:4318", "isSecure": True, "protocol": "http"},
        ),
    ],
)
def test_tracing_follows_the_endpoint(tmp_path: Path, endpoint: str, expected: dict[str, object]) -> None:
    tracing = yaml.safe_load(resources.configuration(tmp_path / "names.db", endpoint))["spec"]["tracing"]
    assert tracing == {"samplingRate": "1", "otel": expected}


def test_only_the_services_that_need_a_secret_get_it() -> None:
    environments = {service.name: service.environment(FACTS) for service in TASKSTREAM.services}
    assert [name for name, values in environments.items() if "DATABASE_URL" in values] == ["task-api"]
    assert [name for name, values in environments.items() if "JWT_PRIVATE_KEYS" in values] == ["task-api"]
    assert environments["notifier"]["PUBLIC_URL"] == "http://127.0.0.1:23110"
    assert environments["notifier"]["LINKS_URL"] == "http://127.0.0.1:23125"
    for secret in ("LINK_SECRETS", "VAPID_PRIVATE_KEY"):
        assert [name for name, values in environments.items() if secret in values] == ["notifier"]
    assert environments["task-api"]["DATABASE_URL"] == "postgresql://taskstream:pg@127.0.0.1:23100/taskstream"
    assert FACTS.redis_url == "redis://:rd@127.0.0.1:23101/0"
