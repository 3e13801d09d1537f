"""Serving's settings: the one place that reads its environment."""

from pathlib import Path

from pydantic import Field

from millrace_service.settings import PlatformSettings


class Settings(PlatformSettings):
    serving_port: int = Field(default=8105, description="Port of serving's HTTP")
    serving_grpc_port: int = Field(
        default=8115, description="Port of serving's gRPC, at the same address as its HTTP"
    )
    serving_state_dir: Path | None = Field(
        default=None, description="Folder of the stream positions; default <home>/serving"
    )
    serving_instance: str = Field(
        default="serving-0",
        min_length=1,
        description="Name of this instance; no two that run may share one",
    )
    serving_records_at_once: int = Field(
        default=1_000,
        ge=1,
        description="Most vectors that are scored before requests get their turn",
    )
    serving_model_bytes: int = Field(
        default=1 << 30,
        ge=0,
        description="Most bytes that the models in memory may take, by estimate; those not asked for longest leave it",
    )
    serving_loaded_at_start: int = Field(
        default=100,
        ge=0,
        description="Champions that are loaded before the first answer, the newest ones; others when first needed",
    )
    serving_loads_at_once: int = Field(
        default=2, ge=1, description="Models that are loaded at the same time, each in a thread"
    )
    serving_log_linger_seconds: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="How long answers given over HTTP wait for others before they are sent to the stream together",
    )
    serving_spill_seconds: float = Field(
        default=1.0,
        gt=0,
        description="Answers that the broker has not taken for so long go to the disk",
    )
    serving_spill_bytes: int = Field(
        default=1 << 30,
        ge=0,
        description="Most bytes of answers on disk while the broker is away; then requests are refused. 0: none go there",
    )

    serving_online_store: bool = Field(
        default=True,
        description="Whether the newest vector of each entity is kept, for answers by entity",
    )
    serving_online_store_days: int = Field(
        default=30, ge=1, description="How long a vector is kept after it was written to the stream"
    )
    serving_explainers: int = Field(
        default=1,
        ge=0,
        description="Processes that explain answers, started when first asked. 0: nothing is explained",
    )
    serving_explanations_waiting: int = Field(
        default=32, ge=0, description="Explanations that may wait for a process; more are refused"
    )
    serving_explanation_seconds: float = Field(
        default=30.0, gt=0, description="How long an explanation may take before it is stopped"
    )

    @property
    def online_directory(self) -> Path:
        """Of the entities' newest vectors."""
        parent = self.serving_state_dir or self.millrace_home / "serving"
        return parent / "online" / self.serving_instance

    @property
    def spill_directory(self) -> Path:
        """Of this instance's answers that the broker did not take."""
        parent = self.serving_state_dir or self.millrace_home / "serving"
        return parent / "answers" / self.serving_instance

    @property
    def state_directory(self) -> Path:
        return self.state_of("serving", self.serving_state_dir)
