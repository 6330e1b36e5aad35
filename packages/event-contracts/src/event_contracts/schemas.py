"""JSON Schemas of every event, for consumers in any language. The committed files are held by the contract tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from event_contracts.topics import TOPICS, Topic


def schema_of(topic: Topic) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the whole event on `topic`, envelope and data."""
    schema = topic.event_model.model_json_schema(mode="serialization")
    schema["properties"]["type"] = {"const": topic.event_type}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:taskstream:{topic.event_type}",
    } | schema


def schema_text(topic: Topic) -> str:
    """The committed file's text: indented, keys in a fixed order, one newline at the end."""
    return json.dumps(schema_of(topic), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write one file an event type into `folder`, remove those of types that are gone, and give what changed."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {folder / f"{topic.event_type}.json": schema_text(topic) for topic in TOPICS.values()}
    changed = [path for path in sorted(folder.glob("*.json")) if path not in wanted]
    for path in changed:
        path.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed
