"""How the operators' command logs in to Kafka: TLS and SASL, from the environment, for every client it opens."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from taskstream_cli.authorities import trusting
from taskstream_cli.failing import KafkaAway, Unable

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_ASK_MS = 5_000


def login() -> dict[str, Any]:
    """What aiokafka's clients are given beside the address; nothing for a broker that asks for nothing.

    KAFKA_TLS is true or false, KAFKA_CA an authority of the provider's own as PEM; KAFKA_USERNAME and KAFKA_PASSWORD
    log in by KAFKA_SASL_MECHANISM. Raises Unable with one sentence for what cannot be meant.
    """
    username, password = os.environ.get("KAFKA_USERNAME"), os.environ.get("KAFKA_PASSWORD")
    if bool(username) != bool(password):
        raise Unable("KAFKA_USERNAME and KAFKA_PASSWORD belong together: set both, or neither.")
    tls = os.environ.get("KAFKA_TLS") or "false"
    if tls not in ("true", "false"):
        raise Unable(f"KAFKA_TLS is not valid (it is {tls!r}): set it to true or false.")
    mechanism = os.environ.get("KAFKA_SASL_MECHANISM") or "SCRAM-SHA-256"
    if mechanism not in _MECHANISMS:
        raise Unable(f"KAFKA_SASL_MECHANISM is not valid: it is one of {', '.join(_MECHANISMS)}.")
    protocol = f"{'SASL_' if username else ''}{'SSL' if tls == 'true' else 'PLAINTEXT'}"
    options: dict[str, Any] = {"security_protocol": protocol}
    if username:
        options |= {
            "sasl_mechanism": mechanism,
            "sasl_plain_username": username,
            "sasl_plain_password": password,
        }
    if tls == "true":
        options["ssl_context"] = trusting("KAFKA_CA", os.environ.get("KAFKA_CA") or None)
    return options


async def started(client: AIOKafkaAdminClient | AIOKafkaConsumer | AIOKafkaProducer, bootstrap: str) -> None:
    """Start a client that was made with `login`; it is closed again when it cannot be started.

    Raises KafkaAway with one sentence that says why and what to do.
    """
    try:
        await client.start()
    except KafkaConnectionError as error:
        if isinstance(client, AIOKafkaAdminClient):
            await client.close()
        else:
            await client.stop()
        raise KafkaAway(await _why(bootstrap)) from error


async def _why(bootstrap: str) -> str:
    """Ask the first broker once more: aiokafka tells its log why it got no answer, and its caller only that."""
    host, _, port = bootstrap.partition(",")[0].strip().rpartition(":")
    if not host or not port.isdecimal():
        return f"Kafka has no address: {bootstrap!r} is not host:port, set KAFKA_BOOTSTRAP."
    at = f"Kafka at {host}:{port}"
    options = login()
    try:
        connection = await create_conn(host, int(port), request_timeout_ms=_ASK_MS, **options)
        try:
            await connection.send(MetadataRequest([]))
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        return (
            f"{at} shows a certificate that is not to be trusted ({error.verify_message}): set KAFKA_CA to the PEM of "
            "the authority that signed it, or KAFKA_BOOTSTRAP to the name in it."
        )
    except ssl.SSLError as error:
        return f"{at} does not take TLS as we speak it ({error.reason}): mend KAFKA_TLS or KAFKA_BOOTSTRAP."
    except KafkaConnectionError:
        if "ssl_context" not in options and await _speaks_tls(host, int(port)):
            return f"{at} speaks TLS only: set KAFKA_TLS=true, and KAFKA_CA where the authority is its own."
        return (
            f"{at} hangs up: where it asks for SASL, set KAFKA_USERNAME and KAFKA_PASSWORD; else see its log."
        )
    except KafkaError as error:
        said = next((one for one in error.args if isinstance(one, str)), error.description)
        return (
            f"{at} does not let us in ({said.rstrip('.')}): mend KAFKA_USERNAME, KAFKA_PASSWORD or "
            "KAFKA_SASL_MECHANISM."
        )
    except (OSError, TimeoutError):
        return f"{at} does not answer: start it or set --bootstrap (KAFKA_BOOTSTRAP)."
    return f"{at} answers again: try once more."


async def _speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake gets anywhere; nothing is verified, for nothing is sent."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(_ASK_MS / 1000):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
