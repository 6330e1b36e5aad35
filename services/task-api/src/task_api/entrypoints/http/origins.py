"""Where a request comes from."""

from __future__ import annotations

from fastapi import Request

from service_kit.telemetry import request_id
from task_api.application.audit import Origin


def origin_of(request: Request) -> Origin:
    """Give the client's address, as the trusted proxies tell it, and the request's id."""
    return Origin(request.client.host if request.client else None, request_id())
