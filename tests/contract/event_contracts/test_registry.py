"""The registry, its models, the committed schemas and the golden examples agree, today and with the base branch."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from event_contracts.envelope import CloudEvent
from event_contracts.schemas import schema_text
from event_contracts.topics import (
    SERVICES,
    TOPICS,
    Topic,
    consumed_by,
    dead_letter_topic,
    produced_by,
    topic_for_type,
)

ROOT = Path(__file__).parents[3]
SCHEMAS = ROOT / "packages/event-contracts/schemas"
EXAMPLES = ROOT / "packages/event-contracts/examples"
EVERY_TOPIC = pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS.keys())


@EVERY_TOPIC
def test_committed_schema_is_the_models(topic: Topic) -> None:
    committed = (SCHEMAS / f"{topic.event_type}.json").read_text(encoding="utf-8")
    assert committed == schema_text(topic), "run `make contracts` and review the difference"


@EVERY_TOPIC
def test_golden_example_decodes_and_loses_nothing(topic: Topic) -> None:
    golden = json.loads((EXAMPLES / f"{topic.event_type}.json").read_text(encoding="utf-8"))
    event = topic.event_model.model_validate(golden)
    assert json.loads(event.encode()) == golden
    assert event.type == topic.event_type
    assert event.source == f"/{topic.producer}"
    jsonschema.validate(golden, json.loads((SCHEMAS / f"{topic.event_type}.json").read_text()))


@EVERY_TOPIC
def test_unknown_fields_are_ignored(topic: Topic) -> None:
    golden = json.loads((EXAMPLES / f"{topic.event_type}.json").read_text(encoding="utf-8"))
    newer = golden | {"pubsubname": "pubsub", "data": golden["data"] | {"field_of_a_later_release": {"a": 1}}}
    assert topic.event_model.model_validate(newer) == topic.event_model.model_validate(golden)


@EVERY_TOPIC
def test_partition_key_is_a_field_of_the_data(topic: Topic) -> None:
    golden = json.loads((EXAMPLES / f"{topic.event_type}.json").read_text(encoding="utf-8"))
    event = topic.event_model.model_validate(golden)
    assert topic.key_of(event.data) == golden["data"][topic.key]


@EVERY_TOPIC
def test_integers_survive_daprd(topic: Topic) -> None:
    """daprd reads JSON numbers as doubles, so nothing on the wire may exceed 2^53."""

    def integers(value: Any) -> list[int]:
        if isinstance(value, dict):
            return [n for inner in value.values() for n in integers(inner)]
        if isinstance(value, list):
            return [n for inner in value for n in integers(inner)]
        return [value] if isinstance(value, int) else []

    golden = json.loads((EXAMPLES / f"{topic.event_type}.json").read_text(encoding="utf-8"))
    assert all(abs(number) < 2**53 for number in integers(golden))


@EVERY_TOPIC
def test_topic_is_well_formed(topic: Topic) -> None:
    assert topic_for_type(topic.event_type) is topic
    assert topic.producer in SERVICES
    assert topic.consumers
    assert set(topic.consumers) <= set(SERVICES)
    assert topic.partitions >= 1
    assert topic.replication >= 1
    assert topic.retention >= timedelta(days=1)
    assert TOPICS[topic.name] is topic


def test_no_file_is_orphaned() -> None:
    types = {f"{topic.event_type}.json" for topic in TOPICS.values()}
    assert {path.name for path in SCHEMAS.iterdir()} == types
    assert {path.name for path in EXAMPLES.iterdir()} == types


def test_every_service_has_its_part() -> None:
    for service in SERVICES:
        assert consumed_by(service)
        assert produced_by(service)
    assert len({dead_letter_topic(service) for service in SERVICES} | set(TOPICS)) == len(TOPICS) + len(
        SERVICES
    )


def test_encode_leaves_out_absent_attributes() -> None:
    topic = TOPICS["reminder-due"]
    golden = json.loads((EXAMPLES / f"{topic.event_type}.json").read_text())
    bare = {name: golden[name] for name in ("id", "source", "type", "time", "data")}
    event: CloudEvent[Any] = topic.event_model.model_validate(bare)
    encoded = json.loads(event.encode())
    assert "traceparent" not in encoded
    assert encoded["specversion"] == "1.0"


def _at_base(path: str) -> str | None:
    """The file's text on the base branch, None where that branch or the file is not there."""
    for base in ("origin/main", "main"):
        shown = subprocess.run(
            ["git", "show", f"{base}:{path}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if shown.returncode == 0:
            return shown.stdout
    return None


@EVERY_TOPIC
def test_releases_understand_each_other_during_a_rolling_deploy(topic: Topic) -> None:
    """The base branch's examples decode with today's models, and today's examples fit the base branch's schemas."""
    name = f"{topic.event_type}.json"
    old_example = _at_base(f"packages/event-contracts/examples/{name}")
    old_schema = _at_base(f"packages/event-contracts/schemas/{name}")
    if old_example is None or old_schema is None:
        return  # an event type that the base branch does not have
    topic.event_model.model_validate_json(old_example)
    jsonschema.validate(json.loads((EXAMPLES / name).read_text()), json.loads(old_schema))
