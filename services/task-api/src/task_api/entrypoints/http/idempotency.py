"""The Idempotency-Key header: a request that is sent again gets the answer of the first one."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from task_api.application.ports import KeptAnswer, Once

KEY_MAX = 255


async def _once(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="The client's own name for this request: sent again within 24 hours, it is not done again.",
            pattern=r"^[\x21-\x7e]+$",
            max_length=KEY_MAX,
            examples=["6f1c6c3e-2f0b-4b0e-9a55-0f6ad9b7c001"],
        ),
    ] = None,
) -> Once | None:
    if idempotency_key is None:
        return None
    digest = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    digest.update(await request.body())
    return Once(idempotency_key, digest.digest())


OnlyOnce = Annotated[Once | None, Depends(_once)]


def kept(response: Response) -> KeptAnswer:
    """Give a response as it is to be kept."""
    own = {name: value for name, value in response.headers.items() if name != "content-length"}
    return KeptAnswer(response.status_code, own, bytes(response.body))


def replay(answer: KeptAnswer, *, given_before: bool) -> Response:
    """Give the response that a kept answer is; one that was given before says so."""
    response = Response(answer.body, status_code=answer.status, headers=answer.headers)
    if given_before:
        response.headers["Idempotency-Replayed"] = "true"
    return response
