"""A provider's stores, and what the chart and the overlay for them give each pod, with real secrets in it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.deploy.rendering import VALUES, Manifest, environment, helm_template, kustomize, parse, pods
from tests.deploy.toolbox import toolbox
from tests.integration.managed import stores
from tests.integration.managed.authority import Authority
from tests.integration.managed.stores import PASSWORD, USER, Place

from service_kit.testing.tokens import SigningKey
from stack import Progress
from stack.prepare import prepare

Secrets = Mapping[str, Mapping[str, str]]
Given = Callable[[str], dict[str, str]]


@pytest.fixture(scope="package")
def authority() -> Authority:
    """Who signed the certificates of every store here."""
    return Authority("the provider")


@pytest.fixture(scope="package")
def stranger() -> Authority:
    """Who signed none of them, under the same name."""
    return Authority("the provider")


@pytest.fixture(scope="package")
def secrets(authority: Authority) -> Iterator[Secrets]:
    """The stores run; this is what docs/deploy.md has put into the secrets of the cluster."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running, ThreadPoolExecutor() as pool:
        place = Place(Path(folder), prepare(Progress()), authority)
        # Folder and certificates belong to us, PostgreSQL's files to its user.
        place.folder.chmod(0o755)
        contexts = [stores.kafka(place), stores.postgres(place), stores.redis(place)]
        brokers, postgres, redis = pool.map(running.enter_context, contexts)
        user = f"{USER}:{quote(PASSWORD)}"
        yield {
            "kafka-secret": {
                "brokers": str(brokers),
                "username": USER,
                "password": PASSWORD,
                "ca": authority.pem,
            },
            "postgres-secret": {
                "database-url": f"postgresql://{user}@localhost:{postgres}/taskstream?sslmode=verify-full",
                "ca": authority.pem,
            },
            "redis-secret": {
                "redis-host": f"127.0.0.1:{redis}",
                "redis-password": PASSWORD,
                "redis-url": f"rediss://:{quote(PASSWORD)}@127.0.0.1:{redis}/0",
                "ca": authority.pem,
            },
            "app-api-token": {"token": "the-app's"},
            "dapr-api-token": {"token": "the-sidecar's"},
            "task-api-secret": {"jwt-private-keys": SigningKey().pem, "encryption-keys": "A" * 43 + "="},
        }


@pytest.fixture(scope="package")
def cluster() -> list[Manifest]:
    """Everything of the overlay."""
    return parse(kustomize(toolbox(), "k8s/overlays/managed"))


@pytest.fixture(scope="package")
def given(secrets: Secrets) -> Given:
    """The variables that the chart gives the app of a pod, by the pod's name."""
    chart = parse(helm_template(toolbox(), *VALUES["managed"]))

    @cache
    def of(name: str) -> dict[str, str]:
        pod = next(one for one in pods(chart) if one.owner["metadata"]["name"] == name)
        return environment(pod, secrets)

    return lambda name: dict(of(name))
