"""A service that remembers what its sidecar sends it: ``python -m probe_app`` in the stack's tests.

GET /seen answers {"ticks": {binding: count}, "events": {topic: [data, ...]}, "tries": {id: count}}.
An event whose data has ``"fail": true`` is answered with 500; one with ``"drop": true`` with DROP.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response

app = FastAPI()
ticks: Counter[str] = Counter()
tries: Counter[str] = Counter()
events: defaultdict[str, list[Any]] = defaultdict(list)
SUBSCRIPTIONS: list[dict[str, str]] = json.loads(os.environ.get("PROBE_SUBSCRIPTIONS", "[]"))


@app.get("/health/ready")
@app.get("/health/deliveries")
@app.get("/health/live")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.get("/dapr/subscribe")
async def subscriptions() -> list[dict[str, str]]:
    return SUBSCRIPTIONS


@app.get("/seen")
async def seen() -> dict[str, Any]:
    return {"ticks": ticks, "events": events, "tries": tries, "port": os.environ["APP_PORT"]}


@app.get("/env")
async def environment() -> dict[str, str]:
    return dict(os.environ)


@app.post("/events/{topic}")
async def event(topic: str, request: Request, response: Response) -> dict[str, str]:
    body = await request.json()
    tries[body["id"]] += 1
    data = body["data"]
    if data.get("fail"):
        response.status_code = 500
        return {}
    events[topic].append(data)
    return {"status": "DROP" if data.get("drop") else "SUCCESS"}


@app.options("/{binding}")
async def wants(binding: str) -> dict[str, str]:
    return {}


@app.post("/{binding}")
async def tick(binding: str) -> dict[str, str]:
    ticks[binding] += 1
    return {}


if __name__ == "__main__":
    uvicorn.run(app, host=os.environ["APP_HOST"], port=int(os.environ["APP_PORT"]), log_level="warning")
