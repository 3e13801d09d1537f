"""Settings that all services share. Each service's `settings.py` adds its own; nothing else reads the environment."""

import ssl
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from millrace_bus.kafka import KafkaSettings
from millrace_telemetry.exporting import ZIPKIN_ENDPOINT, Exporter, tracing
from millrace_telemetry.tracing import Tracing


class SecurityProtocol(StrEnum):
    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class PlatformSettings(BaseSettings):
    """Where Kafka, the object store and the tracing UI are. Every name is an environment variable in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    kafka_bootstrap_servers: str = Field(
        default="127.0.0.1:9092", description="Kafka brokers, host:port, comma-separated"
    )
    kafka_security_protocol: SecurityProtocol = Field(
        default=SecurityProtocol.PLAINTEXT, description="How to speak to Kafka"
    )
    kafka_sasl_mechanism: str = Field(
        default="PLAIN", description="SASL mechanism, when the protocol is a SASL one"
    )
    kafka_sasl_username: str | None = Field(default=None, description="SASL user")
    kafka_sasl_password: SecretStr | None = Field(default=None, description="SASL password")
    kafka_ssl_cafile: Path | None = Field(
        default=None, description="Certificate authority of the brokers, PEM"
    )
    kafka_session_timeout_seconds: float = Field(
        default=10.0, gt=0, description="A reader silent for so long loses its partitions"
    )
    kafka_create_topics: bool = Field(default=True, description="Create missing topics at start")
    kafka_partitions: int | None = Field(
        default=None, ge=1, description="Partitions of new data topics; default as in the catalogue"
    )
    kafka_replication_factor: int = Field(
        default=1, ge=1, description="Copies of new topics; 3 on a cluster"
    )
    millrace_home: Path = Field(
        default=Path(".millrace"),
        description="Folder for state, databases and objects of a local stack",
    )
    object_store_url: str | None = Field(
        default=None, description="file:// or s3:// URL of the object store; default <home>/objects"
    )
    millrace_instance: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]*$",
        description="Name of this instance, where several of one stream service share a state folder: each has its own in it",
    )
    state_snapshot_seconds: float = Field(
        default=60.0,
        ge=0,
        description="How old the snapshot of a stream service's state in the object store may get; 0: none are taken",
    )
    state_accept_lost_records: bool = Field(
        default=False,
        description="Go on when a topic has deleted records that were not yet read; else the service stops and says so",
    )
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL for all SQL services; default SQLite under <home>"
    )
    millrace_trusted_keys: str | None = Field(
        default=None,
        description="Public keys of the trainers whose models are loaded: PEM files, or folders of them, "
        "with : between; default <home>/keys/trusted",
    )
    http_host: str = Field(default="127.0.0.1", description="Address the HTTP endpoints listen on")
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_json: bool = Field(default=False, description="Logs as JSON lines")
    otel_traces_exporter: Exporter = Field(
        default=Exporter.NONE, description="zipkin, otlp or none"
    )
    otel_exporter_zipkin_endpoint: str = Field(
        default=ZIPKIN_ENDPOINT, description="Where Zipkin takes spans"
    )
    otel_traces_sampler_arg: float = Field(
        default=0.01, ge=0, le=1, description="Share of events that are traced; the loop always is"
    )

    @property
    def objects(self) -> str:
        return self.object_store_url or f"file://{self.millrace_home.resolve() / 'objects'}"

    @property
    def keys_folder(self) -> Path:
        """Where a local stack keeps the keys that it made for itself."""
        return self.millrace_home.resolve() / "keys"

    @property
    def trusted_keys(self) -> tuple[Path, ...]:
        if self.millrace_trusted_keys:
            return tuple(Path(path) for path in self.millrace_trusted_keys.split(":") if path)
        return (self.keys_folder / "trusted",)

    def database_of(self, service: str, own: str | None) -> str:
        """SQLAlchemy URL of a service's database: its own, else the one for all, else SQLite under <home>."""
        local = self.millrace_home.resolve() / service / f"{service}.db"
        return own or self.database_url or f"sqlite:///{local}"

    def state_of(self, service: str, own: Path | None) -> Path:
        """This instance's part of a stream service's state folder: the service's own, else one under <home>."""
        return (own or self.millrace_home / service) / self.millrace_instance

    def tracing(self, service: str) -> Tracing:
        return tracing(
            service,
            self.otel_traces_exporter,
            zipkin_endpoint=self.otel_exporter_zipkin_endpoint,
            sampling_ratio=self.otel_traces_sampler_arg,
        )

    def kafka(self, client_id: str) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=self.kafka_bootstrap_servers,
            client_id=client_id,
            session_timeout_seconds=self.kafka_session_timeout_seconds,
            replication_factor=self.kafka_replication_factor,
            members=self.millrace_home.resolve() / "members",
            security=self._security(),
        )

    def _security(self) -> dict[str, Any]:
        protocol = self.kafka_security_protocol
        if protocol is SecurityProtocol.PLAINTEXT:
            return {}
        security: dict[str, Any] = {"security_protocol": protocol.value}
        if protocol in (SecurityProtocol.SASL_PLAINTEXT, SecurityProtocol.SASL_SSL):
            password = self.kafka_sasl_password
            security |= {
                "sasl_mechanism": self.kafka_sasl_mechanism,
                "sasl_plain_username": self.kafka_sasl_username,
                "sasl_plain_password": password.get_secret_value() if password else None,
            }
        if protocol in (SecurityProtocol.SSL, SecurityProtocol.SASL_SSL):
            cafile = str(self.kafka_ssl_cafile) if self.kafka_ssl_cafile else None
            security["ssl_context"] = ssl.create_default_context(cafile=cafile)
        return security
