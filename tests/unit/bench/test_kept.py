"""A kept result is put together part by part, and the pages say of each where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench import kept, pages
from bench.figures import Figure


def _part(value: float, load: float = 0.1) -> dict[str, Any]:
    machine = {
        "processor": "A processor", "cores": 2, "memory_gib": 24, "python": "3.11.7", "load_before": load,
        "stolen": 0.052,
    }  # fmt: skip
    return {
        "quick": False,
        "measured_at": "2026-03-02T09:30:00Z",
        "took_s": 61.0,
        "commit": "abc1234",
        "machine": machine,
        "figures": [Figure("relay", "events published", value, "events/s").as_json()],
    }


def test_a_part_takes_the_place_of_its_older_self_and_the_others_stay(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    for name, value in (("flow", 1.0), ("relay", 2.0), ("flow", 3.0)):
        kept.put(out, name, _part(value), ["relay", "flow"])
    parts = json.loads(out.read_text(encoding="utf-8"))["parts"]
    assert list(parts) == ["relay", "flow"]
    assert [part["figures"][0]["value"] for part in parts.values()] == [2.0, 3.0]


def test_each_part_says_when_and_of_what_it_was_measured() -> None:
    text = "<!-- figures: written by python -m bench.pages -->\nold\n<!-- end -->"
    said = pages.written(text, {"parts": {"relay": _part(2.0), "flow": _part(3.0, load=2.5)}}, "result.json")
    assert "`result.json`: A processor, 2 cores, 24 GiB, Python 3.11.7. Not measured: task_api, lists" in said
    assert "| relay | 2026-03-02 09:30, 61 s | abc1234 | 0.1 | 5.2% |" in said
    assert "| flow | 2026-03-02 09:30, 61 s | abc1234 | 2.5: read the ratios alone | 5.2% |" in said


def test_the_newest_result_is_the_one_measured_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    with pytest.raises(FileNotFoundError):
        pages.newest()
    kept.put(tmp_path / "2026-03-02-z.json", "relay", _part(2.0), ["relay"])
    kept.put(
        tmp_path / "2026-03-02-a.json",
        "relay",
        {**_part(2.0), "measured_at": "2026-03-02T10:00:00Z"},
        ["relay"],
    )
    assert pages.newest().name == "2026-03-02-a.json"
