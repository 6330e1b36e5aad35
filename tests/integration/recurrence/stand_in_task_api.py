"""task-api as far as recurrence sees it: ``python -m stand_in_task_api`` behind a real sidecar.

PUT /stand-in/series puts a series' snapshot there, GET /stand-in/heard gives the proposals that arrived.
"""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request

TOPIC = "recurring-task-generated"

app = FastAPI()
series: dict[str, Any] = {}
heard: list[dict[str, Any]] = []


@app.get("/health/ready")
@app.get("/health/deliveries")
async def ready() -> dict[str, str]:
    return {"status": "healthy"}


@app.get("/dapr/subscribe")
async def subscriptions() -> list[dict[str, str]]:
    route = f"/events/{TOPIC}"
    return [{"pubsubname": "pubsub", "topic": TOPIC, "route": route, "deadLetterTopic": "task-api-dlq"}]


@app.post(f"/events/{TOPIC}")
async def proposal(request: Request) -> dict[str, str]:
    heard.append(await request.json())
    return {"status": "SUCCESS"}


@app.get("/internal/v1/epoch")
async def epoch() -> dict[str, int]:
    return {"epoch": 1}


@app.get("/internal/v1/series/{series_id}")
async def one(series_id: str) -> Any:
    if series_id not in series:
        raise HTTPException(404)
    return series[series_id]


@app.get("/internal/v1/snapshot")
async def page(kind: str, limit: int = 500, cursor: str | None = None) -> dict[str, Any]:
    if kind != "series":
        raise HTTPException(422)
    ids = sorted(series_id for series_id in series if series_id > (cursor or ""))
    # Pages of two, so that there is more than one.
    shown = ids[: min(limit, 2)]
    return {
        "items": [series[series_id] for series_id in shown],
        "next_cursor": shown[-1] if len(ids) > len(shown) else None,
        "epoch": 1,
    }


@app.put("/stand-in/series")
async def put(request: Request) -> None:
    snapshot = await request.json()
    series[snapshot["series_id"]] = snapshot


@app.get("/stand-in/heard")
async def get_heard() -> list[dict[str, Any]]:
    return heard


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), log_level="warning")
