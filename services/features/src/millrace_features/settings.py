"""The settings of features: the one place that reads the environment."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from millrace_service.settings import PlatformSettings


class Runtime(StrEnum):
    """What drives the heart."""

    BUS = "bus"
    FAUST = "faust"


class Settings(PlatformSettings):
    """Every name is an environment variable in capitals."""

    features_port: int = Field(default=8102, description="HTTP port")
    features_state_dir: Path | None = Field(
        default=None, description="What is remembered of entities; default <home>/features"
    )
    features_runtime: Runtime = Field(
        default=Runtime.BUS,
        description="bus, or faust: the same service as a faust-streaming agent and table (extra millrace-features[faust])",
    )
    features_faust_standby_replicas: int = Field(
        default=1,
        ge=0,
        description="With faust: other instances that keep a copy of each partition's table ready",
    )

    @property
    def state_directory(self) -> Path:
        return self.state_of("features", self.features_state_dir)
