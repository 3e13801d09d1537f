"""Faust is told what the bus is told: where the brokers are, who asks, and over what."""

import ssl

import faust
from faust.types.auth import AuthProtocol, SASLMechanism

from millrace_bus.faust_connection import faust_connection
from millrace_bus.kafka import KafkaSettings


def connection(**settings):
    return faust.App("a", **faust_connection(KafkaSettings(**settings))).conf


def test_every_broker_is_named():
    brokers = connection(bootstrap_servers="one:9092, two:9093").broker

    assert [str(url) for url in brokers] == ["kafka://one:9092", "kafka://two:9093"]


def test_without_security_nobody_says_who_it_is():
    assert connection(bootstrap_servers="one:9092").broker_credentials is None


def test_a_password_is_passed_on_with_the_certificates():
    context = ssl.create_default_context()
    credentials = connection(
        bootstrap_servers="one:9092",
        security={
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "mill",
            "sasl_plain_password": "wheel",
            "ssl_context": context,
        },
    ).broker_credentials

    assert credentials.protocol is AuthProtocol.SASL_SSL
    assert credentials.mechanism is SASLMechanism.SCRAM_SHA_512
    assert (credentials.username, credentials.password) == ("mill", "wheel")
    assert credentials.ssl_context is context


def test_certificates_alone_are_passed_on():
    context = ssl.create_default_context()
    credentials = connection(
        bootstrap_servers="one:9092",
        security={"security_protocol": "SSL", "ssl_context": context},
    ).broker_credentials

    assert credentials.protocol is AuthProtocol.SSL
    assert credentials.context is context


def test_a_slow_group_is_waited_for():
    """Faust refuses to start when a request times out before its session."""
    conf = connection(
        bootstrap_servers="one:9092", session_timeout_seconds=30.0, request_timeout_seconds=10.0
    )

    assert conf.broker_heartbeat_interval == 7.5
    assert conf.broker_request_timeout == 60.0


def test_the_environment_says_nothing(monkeypatch):
    monkeypatch.setenv("BROKER_URL", "kafka://elsewhere:1")
    monkeypatch.setenv("WEB_PORT", "1")

    conf = connection(bootstrap_servers="one:9092")

    assert [str(url) for url in conf.broker] == ["kafka://one:9092"]
    assert conf.web_port != 1
