"""The sidecars' files that differ per environment: the secret store and the configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from stack.privatefile import write_private
from stack.services import HOST, Facts

# What the services ask of their own sidecar, as in a cluster (k8s/base/configuration.yaml).
_API = """\
  api:
    allowed:
      - {name: publish, version: v1.0, protocol: http}
      - {name: state, version: v1.0, protocol: http}
      - {name: invoke, version: v1.0, protocol: http}
      - {name: metadata, version: v1.0, protocol: http}
"""


@dataclass(frozen=True)
class Resources:
    """The folder for --resources-path and the file for --config."""

    folder: Path
    configuration: Path


def write(home: Path, facts: Facts, *, otlp_endpoint: str | None) -> Resources:
    """Writes the files into the instance's folder ``home``; the same facts give the same files."""
    folder = home / "resources"
    secrets_file = home / "secrets.json"
    write_private(secrets_file, json.dumps(secrets(facts), indent=2) + "\n")
    write_private(folder / "secretstore.yaml", secret_store(secrets_file))
    hosts = home / "names.db"
    write_private(home / "configuration.yaml", configuration(hosts, otlp_endpoint))
    return Resources(folder, home / "configuration.yaml")


def secrets(facts: Facts) -> dict[str, dict[str, str]]:
    """The secrets that components/*.yaml refer to, as a cluster's Secret objects would hold them."""
    return {
        "kafka-secret": {"brokers": facts.kafka_bootstrap},
        "redis-secret": {
            "redis-host": f"{HOST}:{facts.ports.redis}",
            "redis-password": facts.identity.redis_password,
        },
    }


def secret_store(secrets_file: Path) -> str:
    return f"""\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: secretstore
spec:
  type: secretstores.local.file
  version: v1
  metadata:
    - name: secretsFile
      value: {json.dumps(str(secrets_file))}
    - name: multiValued
      value: "true"
"""


def configuration(hosts: Path, otlp_endpoint: str | None) -> str:
    """The sidecars' configuration.

    Names are resolved through a file of the instance: multicast DNS, the default, would find the
    sidecars of every instance on this machine. Without mTLS a sidecar cannot tell callers apart, so
    access is checked by the services, as everywhere.
    """
    return f"""\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: local
spec:
{_API}  nameResolution:
    component: sqlite
    version: v1
    configuration:
      connectionString: {json.dumps(str(hosts))}
      # Seconds until a sidecar that was killed is no longer found.
      updateInterval: 3s
      timeout: 1s
      # As good as never: a sidecar that is paused while old entries are cleared ends for good.
      cleanupInterval: 8760h
{_tracing(otlp_endpoint)}"""


def _tracing(otlp_endpoint: str | None) -> str:
    if not otlp_endpoint:
        return '  tracing:\n    samplingRate: "0"\n'
    scheme, _, address = otlp_endpoint.rpartition("://")
    return f"""\
  tracing:
    samplingRate: "1"
    otel:
      endpointAddress: {json.dumps(address.rstrip("/"))}
      isSecure: {"true" if scheme == "https" else "false"}
      # Over HTTP like the services, which send to the same address.
      protocol: http
"""
