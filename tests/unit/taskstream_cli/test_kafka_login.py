"""The environment says how to log in to Kafka; what cannot be meant stops the command."""

from __future__ import annotations

import ssl

import pytest

from taskstream_cli.failing import Unable
from taskstream_cli.kafka_login import login

NAMES = ("KAFKA_TLS", "KAFKA_CA", "KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_SASL_MECHANISM")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_a_broker_that_asks_for_nothing_is_told_nothing() -> None:
    assert login() == {"security_protocol": "PLAINTEXT"}


def test_a_managed_broker_gets_a_name_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_TLS", "true")
    monkeypatch.setenv("KAFKA_USERNAME", "ada")
    monkeypatch.setenv("KAFKA_PASSWORD", "secret")
    options = login()
    context = options.pop("ssl_context")
    assert options == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "ada",
        "sasl_plain_password": "secret",
    }
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"KAFKA_USERNAME": "ada"}, "belong together"),
        ({"KAFKA_TLS": "yes"}, "KAFKA_TLS is not valid"),
        ({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "KAFKA_SASL_MECHANISM is not valid"),
        ({"KAFKA_TLS": "true", "KAFKA_CA": "no certificate"}, "KAFKA_CA cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_told(
    given: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unable, match=sentence):
        login()
