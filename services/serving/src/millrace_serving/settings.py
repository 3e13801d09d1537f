"""Serving's settings: the one place that reads its environment."""

from pathlib import Path

from pydantic import Field

from millrace_service.settings import PlatformSettings


class Settings(PlatformSettings):
    serving_port: int = Field(default=8105, description="Port of serving's HTTP")
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

    @property
    def state_directory(self) -> Path:
        return (self.serving_state_dir or self.millrace_home / "serving") / self.millrace_instance
