"""Ingestion's settings: the one place that reads the environment."""

from pathlib import Path

from pydantic import Field

from millrace_service.settings import PlatformSettings

RAW_PARTITIONS = 4


class Settings(PlatformSettings):
    """Every name is an environment variable in capitals."""

    ingestion_port: int = Field(default=8101, description="HTTP port")
    ingestion_state_dir: Path | None = Field(
        default=None, description="Where event ids are remembered; default <home>/ingestion"
    )
    ingestion_append_seconds: float = Field(
        default=5.0, gt=0, description="How long HTTP waits for the broker before it answers 503"
    )
    ingestion_waiting_bytes: int = Field(
        default=64_000_000,
        ge=1,
        description="Memory that HTTP requests may hold until the broker has them; beyond it, 429",
    )
    ingestion_max_lag: int = Field(
        default=100_000,
        ge=1,
        description="Messages of a raw topic that may wait for this instance before HTTP answers 429",
    )
    ingestion_lag_seconds: float = Field(
        default=1.0, gt=0, description="How often the lag is looked at"
    )
    ingestion_max_dead_letters: int = Field(
        default=10_000,
        ge=1,
        description="Bad messages in a row that stop the service; users' mistakes come in files",
    )

    @property
    def state_directory(self) -> Path:
        return self.state_of("ingestion", self.ingestion_state_dir)

    @property
    def raw_partitions(self) -> int:
        return self.kafka_partitions or RAW_PARTITIONS
