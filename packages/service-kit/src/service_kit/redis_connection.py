"""The one Redis client of a process."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from service_kit.settings import ServiceSettings

CONNECT_TIMEOUT_SECONDS = 0.5
ANSWER_TIMEOUT_SECONDS = 1.0
MAX_CONNECTIONS = 16


def connect_redis(settings: ServiceSettings) -> Redis:
    """Give a client with a pool of at most 16 connections; nothing is connected yet.

    An answer is awaited for 1 s, below the 3 s that the sidecar gives a handler. A lost connection is made anew and
    the command sent once more, so a Redis that restarts costs one try; a time-out is never repeated, for the command
    may have been carried out. Raises redis.exceptions.RedisError from each command; close it with `aclose()`.
    """
    # redis-py takes the parameter for TLS alone; settings have seen to it that there is TLS.
    tls = {} if settings.redis_ca is None else {"ssl_ca_data": settings.redis_ca}
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=MAX_CONNECTIONS,
        timeout=ANSWER_TIMEOUT_SECONDS,
        decode_responses=True,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        socket_timeout=ANSWER_TIMEOUT_SECONDS,
        socket_keepalive=True,
        health_check_interval=15,
        client_name=settings.service_name,
        retry=Retry(ConstantBackoff(0.05), 1, supported_errors=(RedisConnectionError,)),
        **tls,
    )
    return Redis.from_pool(pool)
