"""What a cache of lists in Redis would give: task-api against itself with one, in pairs.

The cache is the best that is still right: the key holds the counter of the person's changes, so nothing has to be
invalidated and nobody reads what is out of date; the body is kept as it is sent, for five minutes. A hit costs a look
at the counter in PostgreSQL and one into Redis, and neither a statement over tasks nor their JSON.

    python -m bench.task_api.result_cache        measure
    python -m bench.task_api.result_cache serve  the variant, which the first starts by itself
"""

import hashlib
import sys
from typing import Annotated

import httpx
import uvloop
from bench import requests
from bench.http_client import Connection, encode
from bench.postgres import Store
from bench.requests import listing
from bench.task_api.arena import arena
from bench.task_api.measure import Measuring, Plan
from bench.task_api.report import headline, line
from fastapi import Depends, FastAPI, Query, Request, Response
from redis.asyncio import Redis

from service_kit.auth import Principal, StaticKeys, TokenVerifier
from service_kit.http_app import install_http, serve
from service_kit.redis_connection import connect_redis
from service_kit.settings import load_settings
from task_api.adapters.ed25519_tokens import SigningKeys, read_private_keys
from task_api.adapters.postgres.accounts import PostgresAccounts
from task_api.adapters.postgres.database import connect
from task_api.adapters.postgres.task_reader import PostgresTaskReader
from task_api.adapters.redis_sessions import RedisRevokedSessions
from task_api.application.ports import TaskFilter
from task_api.entrypoints.http.problems import install_domain_problems
from task_api.entrypoints.http.task_answers import ROOT, TaskAnswer, TaskPage
from task_api.entrypoints.http.task_reading import TaskQuery
from task_api.settings import Settings

TASKS = 10_000
PLAN = Plan(seconds=2.0, pairs=5, clients=(10,))
_KEPT_SECONDS = 300


def build(settings: Settings) -> FastAPI:
    """Put the variant together: one route, with the middlewares and the checks of all."""
    engine = connect(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    redis: Redis = connect_redis(settings)
    keys = SigningKeys(
        read_private_keys(settings.jwt_private_keys.get_secret_value()),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
    revoked = RedisRevokedSessions(redis, PostgresAccounts(engine), keys.lifetime_seconds)
    verifier = TokenVerifier(settings, StaticKeys(keys.public_keys), revoked=revoked.is_revoked)
    reader = PostgresTaskReader(engine)
    app = FastAPI(title="with a cache of lists")
    install_http(app, settings)
    install_domain_problems(app)

    async def caller(request: Request) -> Principal:
        return await verifier.verify(request.headers["authorization"].removeprefix("Bearer "))

    @app.get(ROOT)
    async def page(
        request: Request,
        query: Annotated[TaskQuery, Query()],
        principal: Annotated[Principal, Depends(caller)],
    ) -> Response:
        number = await reader.changes(principal.user_id)
        address = hashlib.blake2b(request.url.query.encode(), digest_size=8).hexdigest()
        key = f"page:{principal.user_id}:{number}:{address}"
        body = await redis.get(key)
        if body is None:
            found = await reader.page(
                principal.user_id, TaskFilter(), query.in_order(), None, query.limit + 1
            )
            items = tuple(TaskAnswer.of(view) for view in found.tasks[: query.limit])
            more = len(found.tasks) > query.limit
            body = TaskPage(items=items, next_cursor=None, has_next=more).model_dump_json()
            await redis.set(key, body, ex=_KEPT_SECONDS)
        return Response(body, media_type="application/json")

    return app


async def _measure() -> None:
    with arena("bench.task_api.result_cache", "serve") as place:
        async with Store.of(place.instance.database_url) as store:
            connection = await Connection.to(place.ours.port)
            try:
                people = await requests.register(connection, 1)
                await store.fill([people[0].user_id], 1, TASKS)
            finally:
                connection.close()
            address = f"http://127.0.0.1:{place.ours.port}{ROOT}"
            token = people[0].token
            async with httpx.AsyncClient() as client:
                first = await client.get(address, headers={"Authorization": f"Bearer {token}"})
            etag = first.headers["etag"]
            known = encode("GET", ROOT, token, headers={"If-None-Match": etag})
            measuring = Measuring(place, PLAN)
            print(headline(), flush=True)
            for name, made in (
                ("every list anew : kept in Redis", listing(people)),
                ("304 by the ETag : kept in Redis", lambda _: known),
            ):
                for row in await measuring.route(name, made):
                    print(line(row), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        given = load_settings(Settings)
        serve(lambda: build(given), given)
    else:
        uvloop.run(_measure())
