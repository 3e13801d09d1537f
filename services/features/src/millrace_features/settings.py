"""The settings of features: the one place that reads the environment."""

from pathlib import Path

from pydantic import Field

from millrace_service.settings import PlatformSettings


class Settings(PlatformSettings):
    """Every name is an environment variable in capitals."""

    features_port: int = Field(default=8102, description="HTTP port")
    features_state_dir: Path | None = Field(
        default=None, description="What is remembered of entities; default <home>/features"
    )

    @property
    def state_directory(self) -> Path:
        return self.features_state_dir or self.millrace_home / "features"
