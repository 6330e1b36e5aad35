"""k8s/backing/kafka: real Kafka takes what the script writes, and sends clients on to names that they can look up."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.deploy.rendering import NAMESPACE, ROOT, Manifest, named

from stack import Progress, readiness
from stack.ports import free_ports
from stack.prepare import prepare
from taskstream_cli.topics import apply_topics, wanted_topics

Objects = Callable[[str], list[Manifest]]
FILES = ROOT / "k8s/backing/kafka"


def _environment(objects: Objects, which: str, pod: str) -> dict[str, str]:
    """What the container of that pod is given, with its own name and namespace."""
    (container,) = named(objects(f"cluster-{which}"), "StatefulSet", "kafka")["spec"]["template"]["spec"][
        "containers"
    ]
    fields = {"metadata.namespace": NAMESPACE}
    given = {
        one["name"]: one["value"] if "value" in one else fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
        for one in container["env"]
    }
    return {"PATH": os.environ["PATH"], "HOSTNAME": pod, **given, "FOLDER": str(FILES)}


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\nset -eu\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def _written(objects: Objects, which: str, pod: str, folder: Path) -> dict[str, str]:
    """The settings that start.sh writes for that pod, its programs being none."""
    for name in ("kafka-storage.sh", "kafka-server-start.sh"):
        _program(folder / name, "exit 0")
    settings = folder / "server.properties"
    environment = {**_environment(objects, which, pod), "KAFKA": str(folder), "SETTINGS": str(settings)}
    subprocess.run(["sh", str(FILES / "start.sh")], env=environment, check=True, timeout=30)
    lines = settings.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_three_brokers_know_each_other_and_every_event_is_on_two(objects: Objects, tmp_path: Path) -> None:
    settings = _written(objects, "production", "kafka-2", tmp_path)
    assert settings["node.id"] == "2"
    assert settings["controller.quorum.voters"] == ",".join(
        f"{number}@kafka-{number}.kafka-brokers:9093" for number in range(3)
    )
    assert settings["default.replication.factor"] == "3"
    assert settings["min.insync.replicas"] == "2"
    headless = named(objects("cluster-production"), "Service", "kafka-brokers")
    assert settings["advertised.listeners"].removeprefix("PLAINTEXT://") == (
        f"kafka-2.{headless['metadata']['name']}.{headless['metadata']['namespace']}.svc:9092"
    )


def test_keda_finds_kafka_from_its_own_namespace(objects: Objects, tmp_path: Path) -> None:
    """The name that it begins with, those that it is sent on to, and Kafka's policy."""
    triggers = [
        trigger["metadata"]
        for one in objects("chart-switches")
        if one["kind"] == "ScaledObject"
        for trigger in one["spec"]["triggers"]
        if trigger["type"] == "kafka"
    ]
    (begins,) = {one["bootstrapServers"] for one in triggers}
    cluster = objects("cluster-production")
    service = named(cluster, "Service", "kafka")
    assert begins == f"kafka.{service['metadata']['namespace']}.svc:{service['spec']['ports'][0]['port']}"
    assert (
        f".{NAMESPACE}.svc:" in _written(objects, "production", "kafka-0", tmp_path)["advertised.listeners"]
    )
    keda = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}
    assert keda in named(cluster, "NetworkPolicy", "kafka")["spec"]["ingress"][0]["from"]


def test_kafka_takes_the_settings_and_the_topics(objects: Objects, tmp_path: Path) -> None:
    """The one broker of minikube and staging; its addresses alone are put on this machine's loopback."""
    tools = prepare(Progress())
    broker, controller = free_ports(2)
    java = shlex.join(
        [str(tools.java), "-Xmx256m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={FILES / 'log4j2.xml'}",
         "-cp", tools.kafka.class_path()]
    )  # fmt: skip
    changes = (
        rf"s/kafka-0\.kafka-brokers[a-z.]*/127.0.0.1/; s/:9092/:{broker}/g; s/:9093/:{controller}/g; "
        rf"s#^log.dirs=.*#log.dirs={tmp_path}/data#; s#//:#//127.0.0.1:#g"
    )
    settings = tmp_path / "server.properties"
    _program(
        tmp_path / "kafka-storage.sh",
        f"sed -i '{changes}' {settings}\nexec {java} kafka.tools.StorageTool \"$@\"",
    )
    _program(tmp_path / "kafka-server-start.sh", f'exec {java} kafka.Kafka "$@"')
    environment = {
        **_environment(objects, "staging", "kafka-0"), "KAFKA": str(tmp_path), "SETTINGS": str(settings),
    }  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(["sh", str(FILES / "start.sh")], env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not readiness.kafka_answers(broker):
            assert process.poll() is None, (tmp_path / "log").read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, (tmp_path / "log").read_text(errors="replace")[-3000:]
            time.sleep(0.5)
        address = f"127.0.0.1:{broker}"
        assert asyncio.run(apply_topics(address)).created == tuple(one.name for one in wanted_topics(1))
        assert not asyncio.run(apply_topics(address))
        told = asyncio.run(_settings_of(address, "0"))
        given = yaml.safe_load((ROOT / "components/pubsub.yaml").read_text(encoding="utf-8"))["spec"][
            "metadata"
        ]
        largest = next(int(one["value"]) for one in given if one["name"] == "maxMessageBytes")
        assert int(told["message.max.bytes"]) >= largest
        assert (told["auto.create.topics.enable"], told["min.insync.replicas"]) == ("false", "1")
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    # SIGTERM got through the script to Kafka, which stops in an orderly way: 128 + 15 is the JVM's own.
    assert process.returncode == 143, (tmp_path / "log").read_text(errors="replace")[-3000:]


async def _settings_of(address: str, broker: str) -> dict[str, str]:
    client = AIOKafkaAdminClient(bootstrap_servers=address)
    await client.start()
    try:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.BROKER, broker)])
    finally:
        await client.close()
    ((*_, entries),) = answer.resources
    return {entry[0]: entry[1] for entry in entries}


@pytest.mark.parametrize("which", ["minikube", "staging", "production"])
def test_each_broker_knows_how_many_there_are(objects: Objects, which: str) -> None:
    stateful = named(objects(f"cluster-{which}"), "StatefulSet", "kafka")["spec"]
    env = {one["name"]: one.get("value") for one in stateful["template"]["spec"]["containers"][0]["env"]}
    assert env["BROKERS"] == str(stateful["replicas"])
