"""Where a request comes from."""

from __future__ import annotations

from fastapi import Request

from service_kit.telemetry import request_id
from task_api.application.audit import Origin


def origin_of(request: Request) -> Origin:
    """Give the client's address, as the trusted proxies tell it, and the request's id."""
    return Origin(request.client.host if request.client else None, request_id())


def origin_at_a_sibling() -> Origin:
    """Give the request's id alone: where it came from before it got to the sibling only that one knows."""
    return Origin(None, request_id())
