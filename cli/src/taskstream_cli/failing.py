"""How a command fails: one sentence that says what to do, and exit code 1."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import httpx
import typer
from aiokafka.errors import KafkaConnectionError, KafkaError
from redis.exceptions import AuthenticationError as RedisRefuses
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisSilent

ResultT = TypeVar("ResultT")


class Unable(Exception):
    """What was asked for cannot be done; the text is a sentence for the operator."""


class KafkaAway(KafkaConnectionError):  # type: ignore[misc, unused-ignore]
    """No broker could be talked to; the text, `error.args[0]`, is a sentence for the operator."""


def run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run `work` to its end. Raises typer.Exit(1), the reason printed, when a part it needs fails it."""
    try:
        return asyncio.run(work)
    except Unable as error:
        fail(str(error))
    except KafkaAway as error:
        fail(error.args[0])
    except KafkaConnectionError:
        fail("Kafka does not answer: start it or set --bootstrap (KAFKA_BOOTSTRAP).")
    except KafkaError as error:
        fail(f"Kafka refused: {error}")
    except RedisRefuses as error:
        fail(f"Redis does not let us in ({error}): mend the password in REDIS_URL.")
    except (RedisAway, RedisSilent) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            fail(
                f"The certificate of Redis is not to be trusted ({error}): mend REDIS_CA or the host of REDIS_URL."
            )
        fail("Redis does not answer: start it or set --redis-url (REDIS_URL), rediss:// where it speaks TLS.")
    except RedisError as error:
        fail(f"Redis refused: {error}")
    except (asyncpg.ReadOnlySQLTransactionError, asyncpg.CannotConnectNowError):
        fail("The database is not open for writing: after a restore it replays its log first. Try again.")
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        fail(f"The database does not let us in: {error}. Mend DATABASE_URL.")
    except asyncpg.PostgresError as error:
        fail(f"The database refused: {error}. Is it migrated?")
    except httpx.TransportError as error:
        address = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
        fail(f"Nobody answers at {address}: start the service, or set its address.")
    except asyncpg.InterfaceError as error:
        fail(f"DATABASE_URL cannot be meant: {error.args[0]}. Mend it, or give its authority in DATABASE_CA.")
    except ssl.SSLCertVerificationError as error:
        fail(
            f"The database's certificate is not to be trusted ({error.verify_message}): mend DATABASE_CA or the host "
            "of DATABASE_URL."
        )
    except (OSError, TimeoutError) as error:
        fail(f"The database does not answer ({error}): check DATABASE_URL and the server.")


def fail(sentence: str) -> NoReturn:
    """Print the sentence and end the command."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1) from None
