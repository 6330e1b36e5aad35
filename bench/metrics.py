"""What a service says of itself at /metrics."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scraped:
    """One scrape."""

    families: tuple[Metric, ...]

    def total(self, name: str, **labels: str) -> float:
        """Add up the samples of that name whose labels have these values."""
        return sum(
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


async def scraped(port: int) -> Scraped:
    """Ask the service on a port of loopback."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    answer.raise_for_status()
    return Scraped(tuple(text_string_to_metric_families(answer.text)))
